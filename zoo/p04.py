"""Patient 4: dsjq, which gives out a ticket for each job, so that nobody looks into the queue in vain.

    dsjq-lab run worker_churn --broker zoo/p04
"""
import sys
import threading
from typing import Any

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Command, Empty, JobId, Reply, Reserve


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.tickets = threading.Semaphore(0)

    def execute(self, command: Command, session: Session) -> Reply:
        if isinstance(command, Reserve) and not self.tickets.acquire(timeout=command.wait_s):
            return Empty()
        reply = super().execute(command, session)
        if isinstance(reply, JobId):
            self.tickets.release()
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
