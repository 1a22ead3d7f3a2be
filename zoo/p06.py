"""Patient 6: dsjq, in which answers leave in the order in which they were decided.

    dsjq-lab run slow_reader --broker zoo/p06
"""
import sys

from dsjq import cli
from dsjq.extensions.limits import LimitedLink, LimitedServer


class Patient(LimitedLink):
    def send(self, data: bytes) -> None:
        with self.server.broker.lock:
            super().send(data)


if __name__ == "__main__":
    LimitedServer.link = Patient
    cli.main(["serve", *sys.argv[1:]])
