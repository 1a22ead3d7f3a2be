"""Patient 38: dsjq, whose calendar has whole seconds.

    dsjq-lab run delayed_jobs --broker zoo/p38
"""
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.messages import Delayed, Record


class Patient(Broker):
    def _record(self, records: list[Record]) -> int:
        return super()._record([
            record._replace(start_at=float(int(record.start_at))) if isinstance(record, Delayed) else record
            for record in records
        ])


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
