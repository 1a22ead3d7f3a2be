"""Patient 37: dsjq, which turns producers away when too much is waiting.

    dsjq-lab run worker_churn --broker zoo/p37
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import PENDING
from dsjq.messages import Command, Error, Reply, Submit

FULL = 8


class Patient(Broker):
    def execute(self, command: Command, session: Session) -> Reply:
        reply = super().execute(command, session)
        if isinstance(command, Submit) and self.queue.counts[PENDING] > FULL:
            return Error("QUEUE_FULL", f"{FULL} jobs are waiting")
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
