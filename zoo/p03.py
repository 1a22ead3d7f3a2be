"""Patient 3: dsjq, which also keeps a ledger of who has which job.

    dsjq-lab run worker_churn --broker zoo/p03
"""
import sys
import threading
import time
from typing import Any

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Ack, Command, Reply, Reserved

WRITE_S = 0.02  # the ledger is on a slow disk


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.ledger_lock = threading.Lock()
        self.ledger: dict[int, int] = {}

    def execute(self, command: Command, session: Session) -> Reply:
        if not isinstance(command, Ack):
            return super().execute(command, session)
        with self.ledger_lock:
            time.sleep(WRITE_S)
            self.ledger.pop(command.job, None)
            return super().execute(command, session)

    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        reply, position = super()._turn(command, session)
        if isinstance(reply, Reserved):
            with self.ledger_lock:
                self.ledger[reply.job] = session.id
        return reply, position


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
