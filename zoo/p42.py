"""Patient 42: dsjq, which writes dates into its log that everybody can read.

    dsjq-lab run clock_step --broker zoo/p42
"""
import sys
import time

from dsjq import cli
from dsjq.broker import Broker


class Patient(Broker):
    def _now(self) -> float:
        return time.time()


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
