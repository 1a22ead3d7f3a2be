"""Patient 10: dsjq, whose deadlines are dates that a person can read.

    dsjq-lab run hung_worker --broker zoo/p10
"""
import sys
import time

from dsjq import cli
from dsjq.broker import Broker
from dsjq.messages import Delivered, Record, Touched


class Patient(Broker):
    def _record(self, records: list[Record]) -> int:
        return super()._record([self._dated(record) for record in records])

    def _dated(self, record: Record) -> Record:
        if isinstance(record, Delivered | Touched):
            return record._replace(deadline=time.time() + self.queue.ack_timeout_s)
        return record


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
