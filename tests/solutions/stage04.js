// Stage 4 in JavaScript: who hangs up gives back what he holds.
'use strict';
const { serve } = require('./stage01.js');
const second = require('./stage02.js');

class Broker extends second.Broker {
  gone(client) {
    for (const job of this.jobs.values())
      if (job.holder === client) Object.assign(job, { state: 'PENDING', holder: null });
  }
}

if (require.main === module) serve(new Broker());
