"""dsjq with a wrong pop: it looks for a job under the lock, takes it under the lock, and lets go between."""
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.lifecycle import decide
from dsjq.messages import Reserve


class TwoSteps(Broker):
    def execute(self, command, session):
        if not isinstance(command, Reserve) or not self.queue.pending:
            return super().execute(command, session)
        with self.lock:
            now = self._now()
            self._let_time_pass(now)
            reply, records = decide(self.queue, command, session.id, now)
        with self.lock:
            position = self._record(records)
        self.store.wait(position)
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=TwoSteps)
