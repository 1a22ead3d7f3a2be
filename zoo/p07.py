"""Patient 7: dsjq, which keeps a list of what it gave to each worker, and puts it back when the worker ends.

    dsjq-lab run worker_churn --broker zoo/p07
"""
import sys
from collections import defaultdict
from typing import Any

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.messages import Command, Reply, Reserved, Submit


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.given: defaultdict[int, dict[int, bytes]] = defaultdict(dict)

    def execute(self, command: Command, session: Session) -> Reply:
        reply = super().execute(command, session)
        if isinstance(reply, Reserved):
            self.given[session.id][reply.job] = reply.payload
        return reply

    def disconnect(self, session: Session) -> None:
        super().disconnect(session)
        for id, payload in self.given.pop(session.id, {}).items():
            if id not in self.queue.jobs:
                self.execute(Submit(payload), session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
