// Stages 2 and 3 in JavaScript: the life of a job. Node runs one thing at a time, so there is nothing to lock.
'use strict';
const first = require('./stage01.js');

class Broker extends first.Broker {
  jobs = new Map(); // by id, in the order in which they came

  constructor() {
    super();
    this.commands = {
      SUBMIT: (payload) => this.submit(payload),
      REQUEST: (rest, client) => this.request(client),
      ACK: (id, client) => this.settle(id, client, 'DONE'),
      FAIL: (id, client) => this.settle(id, client, 'PENDING'),
    };
  }

  submit(payload) {
    const id = String(++this.lastId);
    this.jobs.set(id, { id, payload, state: 'PENDING', holder: null });
    return `JOB_ID ${id}`;
  }

  request(client) {
    for (const job of this.jobs.values()) {
      if (job.state !== 'PENDING') continue;
      Object.assign(job, { state: 'IN_FLIGHT', holder: client });
      return `JOB ${job.id} ${job.payload}`;
    }
    return 'EMPTY';
  }

  settle(id, client, state) {
    const job = this.jobs.get(id);
    if (!job) throw new first.Refused(`NO_SUCH_JOB ${id}`);
    if (job.state !== 'IN_FLIGHT' || job.holder !== client) throw new first.Refused(`STALE job ${id} is not yours`);
    Object.assign(job, { state, holder: null });
    return 'OK';
  }
}

module.exports = { Broker };
if (require.main === module) first.serve(new Broker());
