"""Patient 14: dsjq, which counts how often a job may be tried again.

    dsjq-lab run poison_job --broker zoo/p14
"""
import sys
from typing import Any

from dsjq import cli
from dsjq.broker import Broker


class Patient(Broker):
    def __init__(self, ack_timeout_s: float, retries: int, *options: Any) -> None:
        super().__init__(ack_timeout_s, 1 + retries, *options)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
