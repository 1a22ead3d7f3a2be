"""The line protocol: one message a line, UTF-8, ended by LF. Bytes in, messages out; no sockets.

TCP is a stream, so bytes arrive in pieces and in clumps: `Lines` cuts them into lines again.
A payload is the rest of its line, to the byte. See docs/protocol.md.
"""
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from . import messages as m
from .lifecycle import STATES

LINE_MAX = 64 * 1024  # bytes, its LF not counted


class BadLine(Exception):
    """A line that is no message: a code, and what is wrong with it."""

    def __init__(self, code: str, text: str):
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class Lines:
    """Cuts a stream into lines. Of a line that is too long only the news of it is kept."""

    def __init__(self, line_max: int = LINE_MAX):
        self.line_max, self.buffer, self.skipping = line_max, b"", False

    def feed(self, data: bytes) -> Iterator[bytes | BadLine]:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            if self.skipping or len(line) > self.line_max:
                self.skipping = False
                yield BadLine("LINE_TOO_LONG", f"a line holds at most {self.line_max} bytes")
            else:
                yield line[:-1] if line.endswith(b"\r") else line
        if len(self.buffer) > self.line_max:
            self.buffer, self.skipping = b"", True


# ---- Commands


def decode_command(line: bytes) -> m.Command:
    """Raises BadLine, whose code and text are the ERROR to answer."""
    verb, _, rest = line.partition(b" ")
    decode = COMMANDS.get(verb)
    if decode is None:
        raise BadLine("UNKNOWN_COMMAND", f"{verb[:32]!r}; known: {' '.join(map(bytes.decode, COMMANDS))}")
    try:
        rest.decode()
        return decode(rest)
    except UnicodeDecodeError:
        raise BadLine("NOT_UTF8", "a line is UTF-8 text") from None
    except ValueError as problem:
        raise BadLine("BAD_ARGUMENTS", f"{verb.decode()}: {problem}") from None


def _payload(rest: bytes) -> m.Command:
    if b"\r" in rest:
        raise ValueError("a payload in a line holds no CR")
    return m.Submit(rest)


def _alone(command: m.Command) -> Callable[[bytes], m.Command]:
    def decode(rest: bytes) -> m.Command:
        if rest:
            raise ValueError("takes no arguments")
        return command
    return decode


def _lease(kind: Callable[..., m.Command]) -> Callable[[bytes], m.Command]:
    def decode(rest: bytes) -> m.Command:
        words = rest.decode().split(" ")
        if len(words) > 2 or "" in words[1:]:
            raise ValueError("takes an id, and perhaps a token")
        return kind(_id(words[0]), *words[1:])
    return decode


def _id(word: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", word):
        raise ValueError(f"an id is a number, not {word[:32]!r}")
    return int(word)


def _options(rest: bytes, **kinds: Callable[[str], Any]) -> dict[str, Any]:
    pairs = [word.partition("=") for word in rest.decode().split()]
    for key, equals, _ in pairs:
        if key not in kinds or not equals:
            raise ValueError(f"{key[:32]!r} is none of: {' '.join(f'{kind}=' for kind in kinds)}")
    return {key: kinds[key](value) for key, _, value in pairs}


def _wait(word: str) -> float:
    if not 0 <= (wait_s := float(word)) <= 3600:
        raise ValueError("wait is 0 to 3600 seconds")
    return wait_s


def _state(word: str) -> str:
    if word not in STATES:
        raise ValueError(f"state is one of {' '.join(STATES)}")
    return word


def _reserve(rest: bytes) -> m.Command:
    return m.Reserve(_options(rest, wait=_wait).get("wait", 0.0))


def _jobs(rest: bytes) -> m.Command:
    options = _options(rest, state=_state, after=_id, limit=lambda word: min(_id(word), 1000))
    return m.Jobs(**options)


def _hello(rest: bytes) -> m.Command:
    options = _options(rest, name=lambda word: word[:64])
    if not options.get("name"):
        raise ValueError("takes name=, without spaces")
    return m.Hello(**options)


COMMANDS: dict[bytes, Callable[[bytes], m.Command]] = {
    b"SUBMIT": _payload,
    b"REQUEST": _alone(m.Reserve(short=True)),
    b"ACK": _lease(m.Ack),
    b"FAIL": _lease(m.Fail),
    b"RESERVE": _reserve,
    b"TOUCH": _lease(m.Touch),
    b"STATUS": lambda rest: m.Status(_id(rest.decode())),
    b"STATS": _alone(m.Stats()),
    b"JOBS": _jobs,
    b"KICK": lambda rest: m.Kick(_id(rest.decode())),
    b"HELLO": _hello,
    b"PING": _alone(m.Ping()),
    b"QUIT": _alone(m.Quit()),
}


def encode_command(command: m.Command) -> bytes:
    """Raises ValueError for what a line cannot carry."""
    line = b"SUBMIT " + command.payload if isinstance(command, m.Submit) else _words(command).encode()
    if b"\n" in line or b"\r" in line:
        raise ValueError("a line cannot carry CR or LF; such a payload needs the binary protocol")
    return line + b"\n"


def _words(command: m.Command) -> str:
    if isinstance(command, m.Reserve):
        return "REQUEST" if command.short else f"RESERVE wait={command.wait_s}"
    if isinstance(command, m.Jobs):
        state = f" state={command.state}" if command.state else ""
        return f"JOBS after={command.after} limit={command.limit}{state}"
    if isinstance(command, m.Hello):
        return f"HELLO name={command.name}"
    given = [str(word) for word in command if word is not None]
    return " ".join([type(command).__name__.upper(), *given])


# ---- Replies


def encode_reply(reply: m.Reply) -> bytes:
    if isinstance(reply, m.Reserved):
        short = f"JOB {reply.job} "
        full = (f"RESERVED id={reply.job} token={reply.token} attempt={reply.attempt} "
                f"lease={reply.lease_s} -- ")
        return (short if reply.short else full).encode() + reply.payload + b"\n"
    if isinstance(reply, m.JobId):
        return b"JOB_ID %d\n" % reply.job
    if isinstance(reply, m.Error):
        return f"ERROR {reply.code} {reply.text}\n".encode()
    if isinstance(reply, m.Report):
        return f"{reply.about} {json.dumps(reply.data)}\n".encode()
    return type(reply).__name__.upper().encode() + b"\n"


def decode_reply(line: bytes) -> m.Reply:
    """Raises ValueError or KeyError for a line that is no reply."""
    verb, _, rest = line.partition(b" ")
    if verb == b"RESERVED":
        head, _, payload = rest.partition(b" -- ")
        values = dict(word.split("=", 1) for word in head.decode().split())
        return m.Reserved(int(values["id"]), payload, values["token"], int(values["attempt"]),
                          float(values["lease"]))
    if verb == b"JOB":
        id, _, payload = rest.partition(b" ")
        return m.Reserved(int(id), payload, short=True)
    if verb == b"JOB_ID":
        return m.JobId(int(rest))
    if verb == b"ERROR":
        code, _, text = rest.decode().partition(" ")
        return m.Error(code, text)
    if verb in (b"STATUS", b"STATS", b"JOBS"):
        return m.Report(verb.decode(), json.loads(rest))
    plain: dict[bytes, m.Reply] = {b"OK": m.Ok(), b"PONG": m.Pong(), b"EMPTY": m.Empty()}
    if line not in plain:
        raise ValueError(f"no reply that I know: {line[:64]!r}")
    return plain[line]
