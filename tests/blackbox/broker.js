// A job broker in JavaScript: the four core commands of docs/protocol.md, and nothing else.
//
// Node runs one thing at a time, so there is no lock: what a handler does between two events is one step.
// A lease is an object with an end, and a job knows only the latest. Whoever comes with an older one is late.
//
// node broker.js --port 4730 --ack-timeout 30 --max-attempts 5

'use strict';
const net = require('node:net');
const { parseArgs } = require('node:util');

const { values: options } = parseArgs({
  options: {
    port: { type: 'string' },
    'ack-timeout': { type: 'string', default: '30' }, // seconds
    'max-attempts': { type: 'string', default: '5' },
  },
});
const ACK_TIMEOUT_MS = 1000 * Number(options['ack-timeout']);
const MAX_ATTEMPTS = Number(options['max-attempts']);
const LINE_BYTES_MAX = 1 << 20;

const jobs = new Map(); // id -> job; those that are done or dead are gone
const waiting = []; // ids, the next one first
let lastId = 0;

function submit(payload) {
  const id = String(++lastId);
  jobs.set(id, { id, payload, attempts: 0, lease: null });
  waiting.push(id);
  return `JOB_ID ${id}`;
}

function request(connection) {
  const id = waiting.shift();
  if (id === undefined) return 'EMPTY';
  const job = jobs.get(id);
  const lease = { connection, timer: setTimeout(() => giveBack(job, lease), ACK_TIMEOUT_MS) };
  job.attempts += 1;
  job.lease = lease;
  connection.held.add(job);
  return `JOB ${id} ${job.payload}`;
}

function settle(connection, id, isDone) {
  const job = jobs.get(id);
  if (job === undefined) return `ERROR NO_SUCH_JOB ${id}`;
  if (job.lease === null || job.lease.connection !== connection) return `ERROR STALE job ${id} is not yours`;
  if (isDone) {
    end(job);
    jobs.delete(id);
  } else {
    giveBack(job, job.lease);
  }
  return 'OK';
}

function end(job) {
  clearTimeout(job.lease.timer);
  job.lease.connection.held.delete(job);
  job.lease = null;
}

/** The attempt was in vain: another worker gets the job, unless it has had its chances. */
function giveBack(job, lease) {
  if (job.lease !== lease) return; // that lease is over already
  end(job);
  if (job.attempts >= MAX_ATTEMPTS) jobs.delete(job.id);
  else waiting.unshift(job.id); // requeue
}

function answer(connection, line) {
  const space = line.indexOf(' ');
  const verb = space < 0 ? line : line.slice(0, space);
  const rest = space < 0 ? '' : line.slice(space + 1);
  switch (verb) {
    case 'SUBMIT':
      return submit(rest);
    case 'REQUEST':
      return request(connection);
    case 'ACK':
      return settle(connection, rest, true);
    case 'FAIL':
      return settle(connection, rest, false);
    default:
      return `ERROR UNKNOWN_COMMAND ${verb}`;
  }
}

const server = net.createServer({ noDelay: true }, (socket) => {
  const connection = { held: new Set() };
  let rest = Buffer.alloc(0);
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]); // TCP is a stream: a line may come in pieces, and many at once
    for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.subarray(end + 1)) {
      const line = rest.subarray(0, end).toString('utf8').replace(/\r$/, '');
      socket.write(`${answer(connection, line)}\n`);
    }
    if (rest.length > LINE_BYTES_MAX) socket.destroy();
  });
  socket.on('error', () => {}); // a reset: `close` follows
  socket.on('close', () => {
    for (const job of [...connection.held]) giveBack(job, job.lease);
  });
});

server.listen(Number(options.port), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
