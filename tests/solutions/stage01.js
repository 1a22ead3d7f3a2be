// Stage 1 in JavaScript: a stream of bytes becomes lines, and every line gets its answer.
'use strict';
const net = require('node:net');

class Refused extends Error {}

class Broker {
  lastId = 0;
  commands = { SUBMIT: () => this.submit() };

  submit() {
    return `JOB_ID ${++this.lastId}`;
  }

  answer(line, client) {
    const [, word, rest] = /^([^ ]*) ?(.*)$/s.exec(line.replace(/\r$/, ''));
    try {
      if (!Object.hasOwn(this.commands, word)) throw new Refused('UNKNOWN_COMMAND');
      return this.commands[word](rest, client);
    } catch (why) {
      if (!(why instanceof Refused)) throw why;
      return `ERROR ${why.message}`;
    }
  }

  gone() {}

  talk(client) {
    let rest = Buffer.alloc(0); // bytes: a letter of UTF-8 may come in pieces, too
    client.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.subarray(end + 1))
        client.write(`${this.answer(rest.subarray(0, end).toString(), client)}\n`);
    });
    client.on('error', () => {}); // a reset: `close` follows
    client.on('close', () => this.gone(client));
  }
}

function serve(broker) {
  const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
  net.createServer({ noDelay: true }, (client) => broker.talk(client)).listen(port, '127.0.0.1');
}

module.exports = { Broker, Refused, serve };
if (require.main === module) serve(new Broker());
