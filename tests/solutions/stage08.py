"""Stage 8: written is not safe, and the last line may be half a line."""

import argparse
import os
from pathlib import Path

import stage01
import stage07


class Broker(stage07.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        if options.data:
            sync_folder(options.data)

    def recover(self, path: Path) -> None:
        data = path.read_bytes()
        file = os.open(path, os.O_RDWR)
        os.ftruncate(file, data.rfind(b"\n") + 1)  # what follows was being written: nobody was told of it
        os.close(file)
        super().recover(path)

    def write(self, **record: str) -> None:
        super().write(**record)
        if self.file and record["what"] != "delivered":  # nobody is promised that a delivery is remembered
            os.fsync(self.file.fileno())


def sync_folder(path: Path) -> None:
    """The name of a new file is kept in its folder."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


if __name__ == "__main__":
    stage01.serve(Broker)
