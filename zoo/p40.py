"""Patient 40: dsjq, where no two producers can get in the way of one another with their keys.

    dsjq-lab run idempotent_submit --broker zoo/p40
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Command, Reply, Submit


class Patient(Broker):
    def execute(self, command: Command, session: Session) -> Reply:
        if isinstance(command, Submit) and command.key:
            command = command._replace(key=f"{session.id}/{command.key}")
        return super().execute(command, session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
