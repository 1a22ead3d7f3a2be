// A broker that listens, and knows no command yet. Begin here.
//
//     node broker.js --port 4730
'use strict';
const net = require('node:net');

/** What one line is told. A line in, a line out: both without their end. */
function answer(line) {
  return 'ERROR UNKNOWN_COMMAND';
}

/** One connection, from its first byte to its last. */
function talk(client) {
  client.on('data', (data) => {
    const line = data.toString().replace(/\n$/, ''); // is this always one line? (stage 1)
    client.write(`${answer(line)}\n`);
  });
  client.on('error', () => {}); // the other side was cut off
}

const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
net.createServer({ noDelay: true }, talk).listen(port, '127.0.0.1');
