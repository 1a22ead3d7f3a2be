"""Patient 5: dsjq, in which whoever waits for a job is told which one it has been woken for.

    dsjq-lab run first_job --set workers.count=3 --set load.jobs=15 --set load.rate=10/s --broker zoo/p05
"""
import sys
from typing import Any

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import IN_FLIGHT, apply
from dsjq.messages import Command, Empty, JobId, Reply, Requeued, Reserve


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.announced = 0

    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        reply, position = super()._turn(command, session)
        if isinstance(reply, JobId):
            self.announced = reply.job
            self.work.notify_all()  # a fair chance for everybody
        return reply, position

    def _wait_for_job(self, command: Reserve, session: Session) -> tuple[Reply, int]:
        if not self.work.wait(command.wait_s) or session.gone():
            return Empty(), 0
        job = self.queue.jobs.get(self.announced)
        if job and job.state == IN_FLIGHT:
            apply(self.queue, Requeued(job.id, "moved"))
        return self._turn(command, session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
