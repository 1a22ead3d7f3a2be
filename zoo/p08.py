"""Patient 8: dsjq, which keeps its deadlines in a list of its own, in the order in which they come.

    dsjq-lab run last_moment --broker zoo/p08
"""
import sys
from collections import deque
from typing import Any

from dsjq import cli
from dsjq.broker import Broker
from dsjq.lifecycle import IN_FLIGHT
from dsjq.messages import Delivered, Record, Requeued


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        self.deadlines: deque[tuple[float, int]] = deque()
        super().__init__(*options)

    def _record(self, records: list[Record]) -> int:
        self.deadlines += [(r.deadline, r.job) for r in records if isinstance(r, Delivered)]
        return super()._record(records)

    def _let_time_pass(self, now: float) -> None:
        while self.deadlines and self.deadlines[0][0] <= now:
            job = self.queue.jobs.get(self.deadlines.popleft()[1])
            if job and job.state == IN_FLIGHT:
                self._record([Requeued(job.id, "expiry")])
        super()._let_time_pass(now)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
