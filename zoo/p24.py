"""Patient 24: dsjq, which tries the jobs that never failed before those that did.

    dsjq-lab run worker_churn --broker zoo/p24
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Command, Reply, Reserve


class Patient(Broker):
    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        if isinstance(command, Reserve):
            for ids in self.queue.pending.values():
                ids.sort(key=lambda id: (self.queue.jobs[id].attempts, id))
        return super()._turn(command, session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
