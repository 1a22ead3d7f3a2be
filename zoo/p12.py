"""Patient 12: dsjq, which takes the news that a job is done from whoever brings it.

    dsjq-lab run zombie_ack --broker zoo/p12
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import IN_FLIGHT
from dsjq.messages import Ack, Command, Reply


class Patient(Broker):
    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        job = self.queue.jobs.get(command.job) if isinstance(command, Ack) else None
        if job and job.state == IN_FLIGHT:
            return super()._turn(Ack(job.id), self.sessions[job.holder])
        return super()._turn(command, session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
