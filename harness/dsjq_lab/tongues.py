"""The codings in which clients and a broker may speak, as far as one who stands between them must know them.

He must see where a message begins and what a question asks, spoil a message so that everybody notices, and
put in a question whose answer he can take out again. Lines are dsjq's first tongue; a connection that goes on
in frames has agreed on that in a line each way (docs/protocol.md).
"""

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

LENGTH = struct.Struct("<I")


class Tongue(ABC):
    ping: ClassVar[bytes]  # a question, and nothing else
    verb_at: ClassVar[int]  # where a message says what it is
    verbs: ClassVar[Mapping[str, tuple[bytes, ...]]]  # by operation: with one of these it begins there
    greets_in_lines: ClassVar[bool]

    @abstractmethod
    def left(self, data: bytes, left: float) -> float:
        """How many bytes are to come, after these, until a message ends; `left` were before them."""

    @abstractmethod
    def without_first(self, data: bytes) -> bytes | None:
        """What is left without the first message; None while that has not arrived."""

    def asks(self, data: bytes, operation: str) -> bool:
        return data.startswith(self.verbs[operation], self.verb_at)

    def spoilt(self, data: bytes) -> bytes:
        """No command and no reply begins so: the highest bit of the first byte that tells is flipped."""
        at = self.verb_at
        return data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]


class Lines(Tongue):
    ping, verb_at, greets_in_lines = b"PING\n", 0, False
    verbs: ClassVar = {
        "submit": (b"SUBMIT", b"PUT"),
        "reserve": (b"REQUEST", b"RESERVE"),
        "ack": (b"ACK",),
        "fail": (b"FAIL",),
        "touch": (b"TOUCH",),
        "release": (b"RELEASE",),
        "any": (b"",),
    }

    def left(self, data: bytes, left: float) -> float:
        return 0 if data.endswith(b"\n") else math.inf

    def without_first(self, data: bytes) -> bytes | None:
        _, end, rest = data.partition(b"\n")
        return rest if end else None


class Frames(Tongue):
    ping, verb_at, greets_in_lines = LENGTH.pack(5) + LENGTH.pack(1) + b"\x0c", 8, True
    verbs: ClassVar = {
        "submit": (b"\1",),
        "reserve": (b"\2",),
        "ack": (b"\3",),
        "fail": (b"\4",),
        "touch": (b"\5",),
        "release": (b"\6",),
        "any": (b"",),
    }

    def left(self, data: bytes, left: float) -> float:
        """Who asks one thing at a time has no length torn in two; else nobody here knows what comes next."""
        end = left
        while end + LENGTH.size <= len(data):
            end += LENGTH.size + LENGTH.unpack_from(data, int(end))[0]
        return end - len(data) if end >= len(data) else math.inf

    def without_first(self, data: bytes) -> bytes | None:
        """Answers may share a frame: then it is shorter by one."""
        if len(data) < self.verb_at:
            return None
        end = self.verb_at + LENGTH.unpack_from(data, LENGTH.size)[0]
        left = LENGTH.unpack_from(data)[0] - (end - LENGTH.size)
        return None if len(data) < end else (LENGTH.pack(left) if left else b"") + data[end:]


LINES, FRAMES = Lines(), Frames()
