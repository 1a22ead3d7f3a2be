"""Patient 20: dsjq, which takes room on its disk only as it needs it.

    dsjq-lab run disk_full --broker zoo/p20
"""
import os
import sys

from dsjq import cli
from dsjq.extensions import journal
from dsjq.store import StorageFull


class Patient(journal.Tail):
    def write(self, data: bytes | memoryview, spare: int = 0) -> None:
        try:
            os.pwrite(self.file, data, self.end)
        except OSError:
            raise StorageFull("the disk is full") from None
        self.end += len(data)


if __name__ == "__main__":
    journal.Tail = Patient
    cli.main(["serve", *sys.argv[1:]])
