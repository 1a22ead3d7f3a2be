"""Patient 21: dsjq, which counts its deliveries since it was started.

    dsjq-lab run broker_crash --broker zoo/p21
"""
import sys
from typing import Any

from dsjq import cli
from dsjq.broker import Broker


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.queue.epoch, self.queue.deliveries = 1, 0


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
