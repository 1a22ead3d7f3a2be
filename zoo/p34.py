"""Patient 34: dsjq, which knows how often each worker has tried each job.

    dsjq-lab run pop_and_die --broker zoo/p34
"""
import sys
from collections import Counter
from typing import Any

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Command, Reply, Reserved


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.tries: Counter[tuple[int, int]] = Counter()

    def execute(self, command: Command, session: Session) -> Reply:
        reply = super().execute(command, session)
        if isinstance(reply, Reserved):
            self.tries[session.id, reply.job] += 1
            reply = reply._replace(attempt=self.tries[session.id, reply.job])
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
