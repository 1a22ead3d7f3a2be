"""Stage 12: strangers may say who they are, and nothing else."""

import argparse
import hmac
from pathlib import Path

import stage01
import stage11
from stage01 import Client


class Broker(stage11.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        lines = options.users.read_text().splitlines() if options.users else []
        self.secrets = dict(line.split(" ", 1) for line in lines)
        self.known: set[Client] = set()

    def answer(self, line: bytes, client: Client) -> str:
        if not self.options.users:
            return super().answer(line, client)
        word, _, rest = line.removesuffix(b"\r").partition(b" ")
        if word == b"AUTH":
            return self.authenticate(rest, client)
        if client not in self.known:
            return "ERROR UNAUTHENTICATED say AUTH <user> <secret> first"
        return super().answer(line, client)

    def authenticate(self, rest: bytes, client: Client) -> str:
        self.known.discard(client)  # who says it again, wrongly, is a stranger again
        user, _, secret = rest.decode(errors="replace").partition(" ")
        expected = self.secrets.get(user, "")
        if not hmac.compare_digest(secret.encode(), expected.encode()) or not expected:
            return "ERROR UNAUTHENTICATED wrong user or secret"
        self.known.add(client)
        return "OK"

    def talk(self, client: Client) -> None:
        try:
            super().talk(client)
        finally:
            self.known.discard(client)

    @staticmethod
    def arguments(parser: argparse.ArgumentParser) -> None:
        stage11.Broker.arguments(parser)
        parser.add_argument("--users", type=Path, help="a file: user and secret, one a line")


if __name__ == "__main__":
    stage01.serve(Broker)
