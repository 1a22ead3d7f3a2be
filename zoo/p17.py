"""Patient 17: dsjq, which is careful: if its file has a strange end, somebody has to look first.

    dsjq-lab run torn_journal --broker zoo/p17
"""
import sys

from dsjq import cli
from dsjq.extensions import journal
from dsjq.store import Unusable


class Patient(journal.Scan):
    def _judge(self, rest: bytes) -> None:
        super()._judge(rest)
        if self.cut:
            raise Unusable(f"{self.path}: cannot read the last {self.cut} bytes")


if __name__ == "__main__":
    journal.Scan = Patient
    cli.main(["serve", *sys.argv[1:]])
