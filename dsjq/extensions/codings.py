"""A connection begins with lines; one that says HELLO binary/1 goes on in frames, from the next byte.

What came in frames may be bytes that fit into no line. A client that speaks lines gets them in base64.
"""
import base64
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import messages as m
from ..text import LineCoding, encode_reply

if TYPE_CHECKING:
    from .binary import Frames

HELLO = re.compile(rb"^HELLO binary/1\r?\n", re.M)


class Offering(LineCoding):
    def __init__(self) -> None:
        super().__init__()
        self.frames: Frames | None = None
        self.asked = False
        self.text_bytes = 0  # of the replies that have not left, how much is lines

    def commands(self, data: bytes) -> Iterator[m.Command | m.Error]:
        if not self.frames:
            data, self.buffer = self.buffer + data, b""
            if hello := HELLO.search(data):
                yield from super().commands(data[:hello.start()])
                self.asked = True
                yield m.Hello()  # and if the answer to that was OK, there are frames now
                data = data[hello.end():]
        if self.frames:
            yield from self.frames.commands(data)
            self.buffer = self.frames.buffer
        else:
            yield from super().commands(data)

    def encode_reply(self, reply: m.Reply) -> bytes:
        if self.frames:
            return self.frames.encode_reply(reply)
        line = encode_reply(reply) if _fits(reply) else _in_base64(reply)
        self.text_bytes += len(line)
        if self.asked and isinstance(reply, m.Ok):
            from .binary import Frames
            self.frames = Frames()
        self.asked = False
        return line

    def wrap(self, messages: bytes) -> bytes:
        lines, self.text_bytes = self.text_bytes, 0
        if not self.frames or lines == len(messages):
            return messages
        return messages[:lines] + self.frames.wrap(messages[lines:])


def _fits(reply: m.Reply) -> bool:
    try:
        return not isinstance(reply, m.Reserved) or not re.search("[\r\n]", reply.payload.decode())
    except UnicodeDecodeError:
        return False


def _in_base64(delivery: Any) -> bytes:
    """Long, also if it was asked for as REQUEST: JOB could not say that the payload is not as it was."""
    encoded = delivery._replace(payload=base64.b64encode(delivery.payload), short=False)
    return encode_reply(encoded).replace(b" -- ", b" coding=base64 -- ", 1)
