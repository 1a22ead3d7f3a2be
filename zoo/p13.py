"""Patient 13: dsjq, which finds a fresh start only fair.

    dsjq-lab run broker_crash --broker zoo/p13
"""
import sys
from typing import Any

from dsjq import cli
from dsjq.broker import Broker


class Patient(Broker):
    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        for job in self.queue.jobs.values():
            job.attempts = job.free = 0


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
