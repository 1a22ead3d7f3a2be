"""One connection to a broker, and the three ways in which a call can end.

It happened (a reply is returned), it definitely did not (`Refused`), or nobody can know
(`OutcomeUnknown`): the command may have been carried out, or may still be. A time-out is not a
failure. After an unknown outcome the connection is closed, since the next reply to arrive on it
might be the one that was missed.
"""
import socket
import threading
from collections.abc import Callable
from typing import Self

from .messages import Command, Error, Hello, Reply
from .text import LINE_MAX, LineCoding


class Refused(Exception):
    """It definitely did not happen. `code` is the broker's word for why, or UNREACHABLE."""

    def __init__(self, code: str, text: str):
        super().__init__(f"{code} {text}")
        self.code = code


class OutcomeUnknown(Exception):
    """It may have happened. The connection is closed."""


class Connection:
    """Threads may share it: calls take turns. Raises Refused if nobody listens there.

    `connect` opens the socket: another than the plain one, for a broker with a lock (extensions/security.py).
    """

    def __init__(self, host: str, port: int, *, name: str | None = None, timeout_s: float = 10.0,
                 connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection):
        self.timeout_s = timeout_s
        self.turn = threading.Lock()
        self.coding = LineCoding(32 * LINE_MAX)
        try:
            self.socket = connect((host, port), timeout_s)
        except OSError as problem:
            raise Refused("UNREACHABLE", f"{host}:{port}: {problem}") from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if name:
            try:
                self.call(Hello(name))
            except Exception:
                self.close()
                raise

    def call(self, command: Command, extra_s: float = 0.0) -> Reply:
        """The broker's reply, awaited for `timeout_s` and `extra_s` more.

        Raises Refused or OutcomeUnknown; ValueError if the payload does not fit into a line.
        """
        data = self.coding.wrap(self.coding.encode_command(command))
        [reply] = self.exchange(type(command).__name__.upper(), data, 1, extra_s)
        if isinstance(reply, Error):
            raise Refused(reply.code, reply.text)
        return reply

    def exchange(self, what: str, data: bytes, count: int, extra_s: float = 0.0) -> list[Reply]:
        """Send `data`, which asks for `count` replies. Raises OutcomeUnknown, about `what`."""
        replies: list[Reply] = []
        with self.turn:
            try:
                self.socket.settimeout(self.timeout_s + extra_s)
                self.socket.sendall(data)
                while len(replies) < count:
                    if not (data := self.socket.recv(65536)):
                        raise ConnectionError("the broker closed the connection")
                    replies.extend(self.coding.replies(data))
            except (OSError, ValueError, KeyError) as problem:
                self.close()
                raise OutcomeUnknown(f"{what}: {problem or type(problem).__name__}") from None
        return replies

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
