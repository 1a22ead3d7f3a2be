"""Patient 11: dsjq, which throws no finished work away.

    dsjq-lab run hung_worker --set workers.count=1 --broker zoo/p11
"""
import sys
import time

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import PENDING
from dsjq.messages import Ack, Command, Delivered, Reply


class Patient(Broker):
    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        if isinstance(command, Ack):
            self._let_time_pass(time.monotonic())
            job = self.queue.jobs.get(command.job)
            if job and job.state == PENDING and job.holder == session.id:
                deadline = time.monotonic() + self.queue.ack_timeout_s
                self._record([Delivered(job.id, session.id, job.token, deadline)])
        return super()._turn(command, session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
