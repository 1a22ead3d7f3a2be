"""Patient 16: dsjq, which is patient with its disk: a sync that did not work out is tried once more.

    dsjq-lab run fsyncgate --broker zoo/p16
"""
import sys
import time

from dsjq import cli
from dsjq.extensions import journal

PAUSE_S = 0.01


class Patient(journal.Journal):
    def _sync(self) -> None:
        try:
            super()._sync()
        except OSError:
            time.sleep(PAUSE_S)
            super()._sync()


if __name__ == "__main__":
    journal.Journal = Patient
    cli.main(["serve", *sys.argv[1:]])
