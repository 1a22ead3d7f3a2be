"""The line protocol: one message a line, UTF-8, ended by LF. Bytes in, messages out; no sockets.

TCP is a stream, so bytes arrive in pieces and in clumps: `Lines` cuts them into lines again.
A payload is the rest of its line, to the byte. See docs/protocol.md.
"""
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
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
        if "\r" in rest.decode():
            raise ValueError("a line holds no CR but before its LF")
        return decode(rest)
    except UnicodeDecodeError:
        raise BadLine("NOT_UTF8", "a line is UTF-8 text") from None
    except ValueError as problem:
        raise BadLine("BAD_ARGUMENTS", f"{verb.decode()}: {problem}") from None


def _put(rest: bytes) -> m.Command:
    words, dashes, payload = (b" " + rest).partition(b" -- ")
    if not dashes:
        raise ValueError("takes options, then ` -- ` and the payload")
    options = _options(words, delay_s=_number(float, 0, 365 * 86400), priority=_number(int, -9, 9),
                       lease_s=_number(float, 0, 86400), retries=_number(int, 0, 1000), key=str)
    return m.Submit(payload, **options)


def _alone(command: m.Command, rest: bytes) -> m.Command:
    if rest:
        raise ValueError("takes no arguments")
    return command


def _lease(kind: Callable[..., m.Command], rest: bytes) -> m.Command:
    words = rest.decode().split(" ")
    if len(words) > 2 or "" in words[1:]:
        raise ValueError("takes an id, and perhaps a token")
    return kind(_id(words[0]), *words[1:])


def _id(word: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", word):
        raise ValueError(f"an id is a number, not {word[:32]!r}")
    return int(word)


def _options(rest: bytes, **kinds: Callable[[str], Any]) -> dict[str, Any]:
    """Fields by name from `name=value`; a field in seconds, `wait_s`, is said as `wait`."""
    fields = {name.removesuffix("_s"): name for name in kinds}
    pairs = [word.partition("=") for word in rest.decode().split(" ") if word]
    for key, equals, _ in pairs:
        if key not in fields or not equals:
            raise ValueError(f"{key[:32]!r} is none of: {' '.join(f'{name}=' for name in fields)}")
    return {fields[key]: kinds[fields[key]](value) for key, _, value in pairs}


def _number(kind: Callable[[str], Any], low: float, high: float) -> Callable[[str], Any]:
    def decode(word: str) -> Any:
        if not low <= (value := kind(word)) <= high:
            raise ValueError(f"{word[:32]} is not from {low:g} to {high:g}")
        return value
    return decode


def _state(word: str) -> str:
    if word not in STATES:
        raise ValueError(f"state is one of {' '.join(STATES)}")
    return word


def _hello(rest: bytes) -> m.Command:
    hello = m.Hello(**_options(rest, name=lambda word: word[:64]))
    if not hello.name:
        raise ValueError("takes name=, without spaces")
    return hello


COMMANDS: dict[bytes, Callable[[bytes], m.Command]] = {
    b"SUBMIT": m.Submit,
    b"REQUEST": partial(_alone, m.Reserve(short=True)),
    b"ACK": partial(_lease, m.Ack),
    b"FAIL": partial(_lease, m.Fail),
    b"PUT": _put,
    b"RESERVE": lambda rest: m.Reserve(**_options(rest, wait_s=_number(float, 0, 3600))),
    b"TOUCH": partial(_lease, m.Touch),
    b"RELEASE": partial(_lease, m.Release),
    b"STATUS": lambda rest: m.Status(_id(rest.decode())),
    b"STATS": partial(_alone, m.Stats()),
    b"JOBS": lambda rest: m.Jobs(
        **_options(rest, state=_state, after=_id, limit=lambda word: min(_id(word), 1000))),
    b"KICK": lambda rest: m.Kick(_id(rest.decode())),
    b"HELLO": _hello,
    b"PING": partial(_alone, m.Ping()),
    b"QUIT": partial(_alone, m.Quit()),
}


def encode_command(command: m.Command) -> bytes:
    """Raises ValueError for what a line cannot carry."""
    line = _words(command).encode() + (command.payload if isinstance(command, m.Submit) else b"")
    if b"\n" in line or b"\r" in line:
        raise ValueError("a line cannot carry CR or LF; such a payload needs the binary protocol")
    return line + b"\n"


def _words(command: m.Command) -> str:
    """All but the payload; the short form where every option is at its default."""
    if isinstance(command, m.Submit):
        if " " in command.key:
            raise ValueError("a key has no spaces")
        return "SUBMIT " if command == m.Submit(command.payload) else f"PUT{_given(command)} -- "
    verb = type(command).__name__.upper()
    if isinstance(command, m.Reserve | m.Jobs | m.Hello):
        return "REQUEST" if command == m.Reserve(short=True) else verb + _given(command)
    return " ".join([verb, *(str(word) for word in command if word is not None)])


def _given(command: m.Command) -> str:
    options = {name: getattr(command, name) for name in command._field_defaults}
    return "".join(f" {name.removesuffix('_s')}={value}" for name, value in options.items()
                   if value != command._field_defaults[name])


# ---- Replies


def encode_reply(reply: m.Reply) -> bytes:
    if isinstance(reply, m.Reserved):
        delivery = f"token={reply.token} attempt={reply.attempt} lease={reply.lease_s}"
        head = f"JOB {reply.job} " if reply.short else f"RESERVED id={reply.job} {delivery} -- "
        return head.encode() + reply.payload + b"\n"
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
