"""Patient 33: dsjq, which writes down the end of a lease before anything else.

    dsjq-lab run first_job --broker zoo/p33
"""
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.messages import Delivered, Record, Touched


class Patient(Broker):
    def _record(self, records: list[Record]) -> int:
        self.store.append([Touched(r.job, r.deadline) for r in records if isinstance(r, Delivered)])
        return super()._record(records)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
