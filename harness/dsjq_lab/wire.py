"""What the proxy heard: who said what on which connection, when it came, and when it was passed on, if ever.

So a broker that keeps no trace has one all the same, of its messages. Where lines are spoken, a message is a
line; elsewhere it is so many bytes that came at once. Nothing of it is needed to judge.
"""

from dataclasses import asdict, dataclass
from typing import Any

SHOWN = 80  # bytes of a line
SECRET = b"AUTH "


@dataclass(eq=False, slots=True)
class Said:
    """A message on its way."""

    client: str
    link: int  # the number of its connection
    direction: str  # up is towards the broker
    came_ns: int
    size_bytes: int
    line: bytes | None  # if it is one
    left_ns: int | None = None  # None: it never did

    def op(self) -> dict[str, Any]:
        value = asdict(self)
        if self.line is not None:
            shown = SECRET + b"..." if self.line.startswith(SECRET) else self.line[:SHOWN]
            value["line"] = shown.decode("utf-8", "backslashreplace")
        moment = {"time_ns": value.pop("came_ns"), "process": "network", "type": "info", "f": "message"}
        return {**moment, "value": value, "error": None}


class Ear:
    """Hears messages in one direction of one connection."""

    def __init__(self, client: str, link: int, direction: str, speaks_lines: bool) -> None:
        self.whose, self.speaks_lines = (client, link, direction), speaks_lines
        self.begun = b""  # of a line

    def hear(self, data: bytes, now_ns: int) -> list[Said]:
        """The messages that end in these bytes; none at all if they are the end of the stream."""
        if not self.speaks_lines:
            return [Said(*self.whose, now_ns, len(data), None)] if data else []
        *lines, self.begun = (self.begun + data).split(b"\n")
        return [Said(*self.whose, now_ns, len(line) + 1, line) for line in lines]
