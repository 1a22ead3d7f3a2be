"""Patient 22: dsjq, which is kind to clients that leave out the last newline.

    dsjq-lab run sliced_and_joined --broker zoo/p22
"""
import sys

from dsjq import cli
from dsjq.extensions.limits import LimitedLink, LimitedServer


class Patient(LimitedLink):
    def receive(self) -> bytes:
        data = super().receive()
        return data if data.endswith(b"\n") or not data else data + b"\n"


if __name__ == "__main__":
    LimitedServer.link = Patient
    cli.main(["serve", *sys.argv[1:]])
