"""Patient 15: dsjq, which spares the disk: what is written at once is synced every other second.

    dsjq-lab run power_loss --broker zoo/p15
"""
import sys
import threading
import time

from dsjq import cli
from dsjq.extensions import journal
from dsjq.lifecycle import Queue

INTERVAL_S = 2.0


class Patient(journal.Journal):
    def load(self, queue: Queue) -> None:
        super().load(queue)
        threading.Thread(target=self._sync_now_and_then, daemon=True).start()

    def wait(self, position: int) -> None:
        """It is written, and the system knows of it."""

    def _sync_now_and_then(self) -> None:
        while True:
            time.sleep(INTERVAL_S)
            super().wait(self.appended)


if __name__ == "__main__":
    journal.Journal = Patient
    cli.main(["serve", *sys.argv[1:]])
