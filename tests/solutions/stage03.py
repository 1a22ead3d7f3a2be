"""Stage 3: one lock. Look and take are one step now; and nobody sends while holding it."""

import argparse
import threading

import stage01
import stage02
from stage01 import Client


class Broker(stage02.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.lock = threading.Lock()

    def answer(self, line: bytes, client: Client) -> str:
        with self.lock:
            return super().answer(line, client)


if __name__ == "__main__":
    stage01.serve(Broker)
