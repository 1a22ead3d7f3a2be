"""Patient 31: dsjq, which does not bother one worker with what another has begun.

    dsjq-lab run pop_and_die --broker zoo/p31
"""
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.messages import Acked, Record, Requeued


class Patient(Broker):
    def _record(self, records: list[Record]) -> int:
        return super()._record([Acked(r.job) if isinstance(r, Requeued) else r for r in records])


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
