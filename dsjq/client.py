"""One connection to a broker, and the three ways in which a call can end.

It happened (a reply is returned), it definitely did not (`Refused`), or nobody can know
(`OutcomeUnknown`): the command may have been carried out, or may still be. A time-out is not a
failure. After an unknown outcome the connection is closed, since the next reply to arrive on it
might be the one that was missed.
"""
import socket
import threading
from typing import Self

from .messages import Command, Error, Hello, Reply
from .text import LINE_MAX, BadLine, Lines, decode_reply, encode_command


class Refused(Exception):
    """It definitely did not happen. `code` is the broker's word for why, or UNREACHABLE."""

    def __init__(self, code: str, text: str):
        super().__init__(f"{code} {text}")
        self.code = code


class OutcomeUnknown(Exception):
    """It may have happened. The connection is closed."""


class Connection:
    """Threads may share it: calls take turns. Raises Refused if nobody listens there."""

    def __init__(self, host: str, port: int, *, name: str | None = None, timeout_s: float = 10.0):
        self.timeout_s = timeout_s
        self.turn = threading.Lock()
        self.lines, self.arrived = Lines(16 * LINE_MAX), list[bytes | BadLine]()
        try:
            self.socket = socket.create_connection((host, port), timeout_s)
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
        data = encode_command(command)
        with self.turn:
            try:
                self.socket.settimeout(self.timeout_s + extra_s)
                self.socket.sendall(data)
                reply = decode_reply(self._read_line())
            except (OSError, ValueError, KeyError) as problem:
                self.close()
                what = type(command).__name__.upper()
                raise OutcomeUnknown(f"{what}: {problem or type(problem).__name__}") from None
        if isinstance(reply, Error):
            raise Refused(reply.code, reply.text)
        return reply

    def _read_line(self) -> bytes:
        while not self.arrived:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self.arrived.extend(self.lines.feed(data))
        line = self.arrived.pop(0)
        if isinstance(line, BadLine):
            raise ValueError(str(line))
        return line

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
