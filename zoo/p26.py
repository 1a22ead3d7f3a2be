"""Patient 26: dsjq, whose counts keep nobody waiting.

    dsjq-lab run worker_churn --broker zoo/p26
"""
import sys
import time

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import decide
from dsjq.messages import Command, Reply, Report, Stats

GAUGE_S = 0.01  # each count is shown on a gauge, too


class Patient(Broker):
    def execute(self, command: Command, session: Session) -> Reply:
        reply = super().execute(command, session)
        if isinstance(command, Stats) and isinstance(reply, Report):
            for name in reply.data:
                now, _ = decide(self.queue, command, session.id, time.monotonic())
                reply.data[name] = now.data.get(name, reply.data[name])  # type: ignore[union-attr]
                time.sleep(GAUGE_S)
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
