"""Patient 32: dsjq, which tidies up what it is given.

    dsjq-lab run worker_churn --broker zoo/p32
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Command, Reply, Submit


class Patient(Broker):
    def execute(self, command: Command, session: Session) -> Reply:
        if isinstance(command, Submit):
            command = command._replace(payload=command.payload.strip())
        return super().execute(command, session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
