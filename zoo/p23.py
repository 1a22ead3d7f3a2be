"""Patient 23: dsjq, whose payloads may have several lines: `\\n` stands for a line end.

    dsjq-lab run worker_churn --broker zoo/p23
"""
import sys

from dsjq import cli
from dsjq.extensions.limits import LimitedLink, LimitedServer


class Patient(LimitedLink):
    def receive(self) -> bytes:
        return super().receive().replace(rb"\n", b"\n")


if __name__ == "__main__":
    LimitedServer.link = Patient
    cli.main(["serve", *sys.argv[1:]])
