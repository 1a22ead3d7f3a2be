r"""A talk with a broker, written down: what its clients say, and what it must answer, to the byte.

    # The worker that hangs up loses its job to another.
    a> SUBMIT hello             connection a (it begins here) says a line
    a< JOB_ID $job              and is answered so; $job is one word, and the same one from now on
    b>| REQ                     bytes without an end of line, as a piece of their own; \n, \r, \xNN in them
    b>| UEST\n
    b< JOB $job hello
    b| hangs up                 or: b| resets
    c>* REQUEST                 says it again until the answer is not EMPTY
    c< JOB $job …               … stands for any text (also written ...), and * for any word

It is `docs/protocol.md`'s way of writing examples, with names, pieces and patience.
"""

import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from dsjq_lab.errors import UsageError

LINE = re.compile(r"(\w*)(>\||>\*|>|<|\|) ?(.*)")
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
ESCAPED = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}
PATTERN = re.compile(r"…|\.\.\.|\*|\$[a-z_]\w*")
ENDS = ("hangs up", "resets")
REPLY_S = 5.0  # how long a broker may take to answer, or to have a job again
PIECE_PAUSE_S = 0.03  # so that a piece is not joined to the next on its way
REPLY_BYTES_MAX = 1 << 17
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: a close that sends RST


class Step(NamedTuple):
    number: int  # of its line in the file
    who: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.who}{self.kind} {self.text}"


class Failed(Exception):
    """The broker did not answer as it must."""

    def __init__(self, step: Step, instead: str, *, silent: bool = False) -> None:
        self.step, self.instead = step, instead
        self.silent = silent  # no answer in time: which on a busy machine proves little
        super().__init__(instead)


class Conversation(NamedTuple):
    steps: list[Step]

    @classmethod
    def load(cls, path: Path) -> "Conversation":
        """UsageError, with its line, for what is no such talk."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: {error}") from None
        steps = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = LINE.fullmatch(line)
            if not match or (match[2] == "|" and match[3] not in ENDS):
                raise UsageError(f"{path}:{number}: not a line of a conversation: {line}")
            steps.append(Step(number, *match.groups()))
        if not any(step.kind == "<" for step in steps):
            raise UsageError(f"{path}: expects no answer, so nothing can fail")
        return cls(steps)

    def hold(self, address: tuple[str, int], told: Callable[[str], None], time_scale: float = 1.0) -> None:
        """Talks with the broker, and tells each line as it was really said; raises Failed."""
        patience_s = REPLY_S * time_scale
        words: dict[str, str] = {}
        wires: dict[str, Wire] = {}
        with ExitStack() as stack:
            for step in self.steps:
                if step.who not in wires:
                    wires[step.who] = Wire(step, address, patience_s)
                    stack.enter_context(wires[step.who].socket)
                for line in wires[step.who].take(step, words):
                    told(line)


class Wire:
    """One connection to the broker."""

    def __init__(self, step: Step, address: tuple[str, int], patience_s: float) -> None:
        self.patience_s = patience_s
        try:
            self.socket = socket.create_connection(address, patience_s)
        except OSError as error:
            raise Failed(step, f"cannot connect: {error.strerror or error}") from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.ahead: list[bytes] = []  # replies that were read while asking again

    def take(self, step: Step, words: dict[str, str]) -> Iterator[str]:
        said = PATTERN.sub(lambda match: words.get(match[0], match[0]), step.text)
        match step.kind:
            case ">":
                self.say(step, said.encode() + b"\n")
            case ">|":
                self.say(step, unescaped(said))
                time.sleep(PIECE_PAUSE_S)
            case ">*":
                self.ask_until_there_is_one(step, said.encode() + b"\n")
            case "|" if step.text == "resets":
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                self.socket.close()
            case "|":
                self.socket.close()
            case "<":
                reply = self.ahead.pop() if self.ahead else self.read(step)
                text = reply.decode(errors="backslashreplace").removesuffix("\r")
                if not (fits := as_pattern(step.text, words).fullmatch(text)):
                    raise Failed(step, f"{step.who}< {text}")
                words |= {f"${name}": word for name, word in fits.groupdict().items()}
                said = text
        yield f"{step.who}{step.kind} {said}"

    def say(self, step: Step, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise Failed(step, "the broker does not read", silent=True) from None
        except OSError as error:
            raise Failed(step, f"the connection has ended: {error.strerror or error}") from None

    def ask_until_there_is_one(self, step: Step, data: bytes) -> None:
        deadline_s = time.monotonic() + self.patience_s
        while True:
            self.say(step, data)
            reply = self.read(step)
            if reply.removesuffix(b"\r") != b"EMPTY":
                self.ahead.append(reply)
                return
            if time.monotonic() > deadline_s:
                raise Failed(step, f"{step.who}< EMPTY, for {self.patience_s:g} s", silent=True)
            time.sleep(PIECE_PAUSE_S)

    def read(self, step: Step) -> bytes:
        """A line, without its end."""
        deadline_s = time.monotonic() + self.patience_s
        while b"\n" not in self.rest:
            self.socket.settimeout(max(deadline_s - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                part = f", but the beginning of a line: {self.rest!r}" if self.rest else ""
                raise Failed(step, f"no answer within {self.patience_s:g} s{part}", silent=True) from None
            except OSError as error:
                raise Failed(step, f"no answer, the connection has ended: {error.strerror}") from None
            self.rest += data
            if not data:
                raise Failed(step, "no answer, the broker has closed the connection")
            if len(self.rest) > REPLY_BYTES_MAX:
                raise Failed(step, f"a line of more than {REPLY_BYTES_MAX} bytes")
        line, _, self.rest = self.rest.partition(b"\n")
        return line


def as_pattern(text: str, words: dict[str, str]) -> re.Pattern[str]:
    """What answers the text allows; a name that is new is a group of that name."""
    parts, end = [], 0
    new = set[str]()
    for special in PATTERN.finditer(text):
        parts.append(re.escape(text[end : special.start()]))
        end, mark = special.end(), special[0]
        if mark in words:
            parts.append(re.escape(words[mark]))
        elif mark.startswith("$"):
            parts.append(rf"(?P={mark[1:]})" if mark in new else rf"(?P<{mark[1:]}>\S+)")
            new.add(mark)
        else:
            parts.append(r"\S+" if mark == "*" else ".*")
    return re.compile("".join(parts) + re.escape(text[end:]), re.DOTALL)


def unescaped(text: str) -> bytes:
    parts, end = [], 0
    for escape in ESCAPE.finditer(text):
        parts.append(text[end : escape.start()].encode())
        parts.append(bytes.fromhex(escape[1]) if escape[1] else ESCAPED.get(escape[2], escape[2].encode()))
        end = escape.end()
    return b"".join([*parts, text[end:].encode()])
