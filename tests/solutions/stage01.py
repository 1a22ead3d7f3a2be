"""Stage 1: a stream of bytes becomes lines, and every line gets its answer.

The solutions are one program told in steps: each stage imports the one before and adds what is new.

    python3 stage01.py --port 4730
"""

import argparse
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

Client = socket.socket  # whoever talks to us is known by the connection


class Refused(Exception):
    """What was asked did not happen; the text follows ERROR."""


class Broker:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ids = map(str, itertools.count(1))
        self.commands: dict[str, Callable[[str, Client], str]] = {"SUBMIT": self.submit}

    def submit(self, payload: str, client: Client) -> str:
        return f"JOB_ID {next(self.ids)}"

    def answer(self, line: bytes, client: Client) -> str:
        try:
            word, _, rest = line.removesuffix(b"\r").decode().partition(" ")
            if word not in self.commands:
                raise Refused("UNKNOWN_COMMAND")
            return self.commands[word](rest, client)
        except UnicodeDecodeError:
            return "ERROR NOT_UTF8"
        except Refused as why:
            return f"ERROR {why}"

    def talk(self, client: Client) -> None:
        with client, suppress(OSError):  # a reset is an end like any other
            for line in lines(client):
                client.sendall(self.answer(line, client).encode() + b"\n")

    @staticmethod
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, required=True)


def lines(client: Client) -> Iterator[bytes]:
    """Each whole line. What is left when the stream ends never was one."""
    rest = b""
    while data := client.recv(65_536):
        *whole, rest = (rest + data).split(b"\n")
        yield from whole


def serve(kind: type[Broker]) -> None:
    parser = argparse.ArgumentParser()
    kind.arguments(parser)
    options, _ = parser.parse_known_args()  # those of later stages mean nothing yet
    broker = kind(options)
    with socket.create_server(("127.0.0.1", options.port), backlog=128) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=broker.talk, args=(client,), daemon=True).start()


if __name__ == "__main__":
    serve(Broker)
