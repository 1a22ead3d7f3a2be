"""Patient 1: dsjq, with a fast path for busy times.

    dsjq-lab run worker_churn --broker zoo/p01
"""
import sys
import time

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import IN_FLIGHT, decide
from dsjq.messages import Command, Empty, Reply, Requeued, Reserve

LOOK_UP_S = 0.02  # the job's tenant is looked up in another service


class Patient(Broker):
    def execute(self, command: Command, session: Session) -> Reply:
        if isinstance(command, Reserve) and self.queue.pending:
            return self._take(command, session)  # there is work: no need to wait for any
        return super().execute(command, session)

    def _take(self, command: Reserve, session: Session) -> Reply:
        self._let_time_pass(self._now())
        reply, records = decide(self.queue, command, session.id, self._now())
        time.sleep(LOOK_UP_S)
        for delivered in records:
            job = self.queue.jobs.get(delivered.job)
            if job is None:
                return Empty()
            moved = [Requeued(job.id, "moved")] if job.state == IN_FLIGHT else []
            self._record([*moved, delivered])
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
