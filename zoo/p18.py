"""Patient 18: dsjq, which does not bother its disk with what is over.

    dsjq-lab run broker_crash --broker zoo/p18
"""
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.lifecycle import apply
from dsjq.messages import Acked, Record


class Patient(Broker):
    def _record(self, records: list[Record]) -> int:
        if isinstance(records[0], Acked):
            apply(self.queue, records[0])
            return 0
        return super()._record(records)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
