"""Patient 19: dsjq, which writes its journal anew beside the old one, syncs it, and then swaps the two.

    dsjq-lab run power_loss --broker zoo/p19
"""
import os
import sys

from dsjq import cli
from dsjq.extensions import journal


class Patient(journal.Journal):
    def _name(self) -> None:
        self._sync()
        os.replace(self.folder / "journal.new", self.path)


if __name__ == "__main__":
    journal.Journal = Patient
    cli.main(["serve", *sys.argv[1:]])
