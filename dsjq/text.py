"""The line protocol: one message a line, UTF-8, ended by LF. Bytes in, messages out; no sockets.

TCP is a stream, so bytes arrive in pieces and in clumps: `Lines` cuts them into lines again.
A payload is the rest of its line, to the byte. See docs/protocol.md.
"""
import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from . import messages as m
from .lifecycle import STATES

LINE_MAX = 64 * 1024  # bytes, its LF not counted


class Lines:
    """Cuts a stream into lines. Of a line that is too long only so much is kept that it is seen to be."""

    def __init__(self, line_max: int = LINE_MAX):
        self.line_max, self.buffer = line_max, b""

    def feed(self, data: bytes) -> Iterator[bytes | m.Error]:
        *lines, rest = (self.buffer + data).split(b"\n")
        self.buffer = rest[:self.line_max + 1]
        for line in lines:
            if len(line) > self.line_max:
                yield m.Error("LINE_TOO_LONG", f"a line holds at most {self.line_max} bytes")
            else:
                yield line[:-1] if line.endswith(b"\r") else line


# ---- Commands


def decode_command(line: bytes) -> m.Command | m.Error:
    """The command; or the answer to a line that is none."""
    verb, _, rest = line.partition(b" ")
    decode = COMMANDS.get(verb)
    if decode is None:
        return m.Error("UNKNOWN_COMMAND", f"{verb[:32]!r}; known: {' '.join(map(bytes.decode, COMMANDS))}")
    try:
        if "\r" in rest.decode():
            raise ValueError("a line holds no CR but before its LF")
        return decode(rest)
    except UnicodeDecodeError:
        return m.Error("NOT_UTF8", "a line is UTF-8 text")
    except ValueError as problem:
        return m.Error("BAD_ARGUMENTS", f"{verb.decode()}: {problem}")


def _put(rest: bytes) -> m.Command:
    words, dashes, payload = (b" " + rest).partition(b" -- ")
    if not dashes:
        raise ValueError("takes options, then ` -- ` and the payload")
    return with_options(m.Submit, words, payload)


def alone(command: m.Command, rest: bytes) -> m.Command:
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


def with_options(kind: Any, rest: bytes, *given: Any) -> m.Command:
    """A command by its fields from `name=value`; one in seconds, `wait_s`, is said as `wait`."""
    fields = {name.removesuffix("_s"): name for name in kind._field_defaults if name in OPTIONS}
    options = {}
    for word in filter(None, rest.decode().split(" ")):
        key, equals, value = word.partition("=")
        if key not in fields or not equals:
            raise ValueError(f"{key[:32]!r} is none of: {' '.join(f'{name}=' for name in fields)}")
        options[fields[key]] = checked(fields[key], OPTIONS[fields[key]][0](value))
    return cast(m.Command, kind(*given, **options))


OPTIONS: dict[str, tuple[Callable[[str], Any], float, float]] = {
    # field: (what its word stands for, from, to)
    "delay_s": (float, 0, 365 * 86400), "priority": (int, -9, 9), "lease_s": (float, 0, 86400),
    "retries": (int, 0, 1000), "key": (str, 0, 0), "wait_s": (float, 0, 3600), "name": (str, 0, 0),
    "state": (str, 0, 0), "after": (int, 0, 10**18), "limit": (int, 0, 1000), "queue": (str, 0, 0),
}


def checked(field: str, value: Any) -> Any:
    """The value. Raises ValueError if no command may have it there, in whatever coding."""
    kind, low, high = OPTIONS[field]
    if kind is not str and value is not None and not low <= value <= high:
        raise ValueError(f"{field.removesuffix('_s')} is from {low:g} to {high:g}, not {value}")
    if kind is str and value and re.search("[ \r\n]", value):
        raise ValueError(f"{field} has no spaces")
    if field == "state" and value not in (None, *STATES):
        raise ValueError(f"state is one of {' '.join(STATES)}")
    return value


COMMANDS: dict[bytes, Callable[[bytes], m.Command]] = {
    b"SUBMIT": m.Submit,
    b"REQUEST": partial(alone, m.Reserve(short=True)),
    b"ACK": partial(_lease, m.Ack),
    b"FAIL": partial(_lease, m.Fail),
    b"PUT": _put,
    b"RESERVE": partial(with_options, m.Reserve),
    b"TOUCH": partial(_lease, m.Touch),
    b"RELEASE": partial(_lease, m.Release),
    b"STATUS": lambda rest: m.Status(_id(rest.decode())),
    b"STATS": partial(alone, m.Stats()),
    b"JOBS": partial(with_options, m.Jobs),
    b"KICK": lambda rest: m.Kick(_id(rest.decode())),
    b"HELLO": partial(with_options, m.Hello),
    b"PING": partial(alone, m.Ping()),
    b"QUIT": partial(alone, m.Quit()),
}


def encode_command(command: m.Command) -> bytes:
    """Raises ValueError for what a line cannot carry."""
    line = WORDS.get(type(command), _words)(command).encode() + getattr(command, "payload", b"")
    if b"\n" in line or b"\r" in line:
        raise ValueError("a line cannot carry CR or LF; such a payload needs the binary protocol")
    return line + b"\n"


def _words(command: m.Command) -> str:
    """All but the payload; the short form where every option is at its default."""
    if isinstance(command, m.Submit):
        checked("key", command.key)
        return "SUBMIT " if command == m.Submit(command.payload) else f"PUT{options_of(command)} -- "
    verb = type(command).__name__.upper()
    if isinstance(command, m.Reserve | m.Jobs | m.Hello):
        return "REQUEST" if command == m.Reserve(short=True) else verb + options_of(command)
    return " ".join([verb, *(str(word) for word in command if word is not None)])


def options_of(command: Any) -> str:
    """The options that are not at their default."""
    options = {name: getattr(command, name) for name in command._field_defaults}
    return "".join(f" {name.removesuffix('_s')}={value}" for name, value in options.items()
                   if value != command._field_defaults[name])


WORDS: dict[type[Any], Callable[[Any], str]] = {}  # those of an extension's command, if they are special


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
        return m.Reserved(int(values["id"]), base64.b64decode(payload) if "coding" in values else payload,
                          values["token"], int(values["attempt"]), float(values["lease"]))
    if verb == b"JOB":
        id, _, payload = rest.partition(b" ")
        return m.Reserved(int(id), payload, short=True)
    if verb == b"JOB_ID":
        return m.JobId(int(rest))
    if verb == b"ERROR":
        code, _, text = rest.decode().partition(" ")
        return m.Error(code, text)
    if rest[:1] in (b"{", b"["):
        return m.Report(verb.decode(), json.loads(rest))
    plain: dict[bytes, m.Reply] = {b"OK": m.Ok(), b"PONG": m.Pong(), b"EMPTY": m.Empty()}
    if line not in plain:
        raise ValueError(f"no reply that I know: {line[:64]!r}")
    return plain[line]


# ---- Both ways


class LineCoding(Lines):
    """How one connection hears things and says them. Another coding has the same methods."""

    decode_command = staticmethod(decode_command)
    encode_command, encode_reply = staticmethod(encode_command), staticmethod(encode_reply)

    def commands(self, data: bytes) -> Iterator[m.Command | m.Error]:
        """What has arrived; an Error is the answer to what is no command."""
        return (line if isinstance(line, m.Error) else self.decode_command(line) for line in self.feed(data))

    def replies(self, data: bytes) -> Iterator[m.Reply]:
        """Raises ValueError or KeyError for what is no reply."""
        for line in self.feed(data):
            if isinstance(line, m.Error):
                raise ValueError(line.text)
            yield decode_reply(line)

    def wrap(self, messages: bytes) -> bytes:
        """What leaves together."""
        return messages
