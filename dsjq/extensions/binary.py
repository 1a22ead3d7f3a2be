"""The same messages in frames: for payloads of any bytes, and for many messages at once.

    frame:    length (u32) · message · message · …
    message:  length (u32) · number of its class (u8) · its fields

All little-endian. How the fields are packed follows from the class alone: first one item of fixed size for
each, in order, then the bytes of those whose size varies. So a new command is a class in messages.py and a
number here.

A frame is a batch. It is carried out when all of it has arrived, its answers wait once for the disk and
leave together, and each is that of one command: of a hundred jobs submitted together one may be refused.
"""
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_type_hints

from .. import client, workers
from .. import messages as m
from ..client import OutcomeUnknown, Refused
from ..text import OPTIONS, checked
from ..workers import Job
from . import routing

FRAME_MAX = 1 << 20  # bytes, its length not counted
Connect = Callable[[tuple[str, int], float], socket.socket]
BATCH = 1 << 16  # bytes of commands that a client puts into one frame, if they are many
LENGTH = struct.Struct("<I")
NUMBERS: dict[type[Any], int] = {  # never used for anything else again
    m.Submit: 1, m.Reserve: 2, m.Ack: 3, m.Fail: 4, m.Touch: 5, m.Release: 6, m.Kick: 7, m.Status: 8,
    m.Stats: 9, m.Jobs: 10, m.Hello: 11, m.Ping: 12, m.Quit: 13, routing.Declare: 14, routing.Bind: 15,
    routing.Unbind: 16, routing.Publish: 17, routing.Topology: 18,
    m.Ok: 128, m.Pong: 129, m.JobId: 130, m.Empty: 131, m.Reserved: 132, m.Report: 133, m.Error: 134,
    routing.Copies: 135,
}

# ---- Fields

NONE = -1 << 63  # stands for a number that is not given
ITEMS: dict[Any, str] = {bool: "?", int: "q", int | None: "q", float: "d"}  # all others: their length, "i"
TAILS: dict[Any, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    bytes: (bytes, bytes), str: (str.encode, bytes.decode), str | None: (str.encode, bytes.decode),
    Any: (lambda data: json.dumps(data).encode(), json.loads),
}


class Packing:
    """How one class of messages is packed."""

    def __init__(self, kind: type[Any], number: int):
        self.kind, self.number = kind, number
        hints = list(get_type_hints(kind).values())
        self.items = struct.Struct("<IB" + "".join(ITEMS.get(hint, "i") for hint in hints))
        self.perhaps = [n for n, hint in enumerate(hints) if hint == int | None]
        self.tails = [(n, hint == str | None, *TAILS[hint]) for n, hint in enumerate(hints) if hint in TAILS]
        self.limited = [(n, name) for n, name in enumerate(kind._fields) if name in OPTIONS]

    def pack(self, message: Any) -> bytes:
        """Raises ValueError for a number that is out of reach, or a message that fits into no frame."""
        items, tails = list(message), b""
        for n in self.perhaps:
            items[n] = NONE if items[n] is None else items[n]
        for n, _, encode, _ in self.tails:
            tail = b"" if items[n] is None else encode(items[n])
            items[n] = -1 if items[n] is None else len(tail)
            tails += tail
        length = self.items.size - LENGTH.size + len(tails)
        if length + LENGTH.size > FRAME_MAX:
            raise ValueError(f"a frame holds at most {FRAME_MAX} bytes")
        try:
            return self.items.pack(length, self.number, *items) + tails
        except struct.error as problem:
            raise ValueError(str(problem)) from None

    def unpack(self, data: bytes, start: int, end: int) -> Any:
        """The message between these places. Raises ValueError."""
        at = start + self.items.size
        if at > end:
            raise ValueError("is too short")
        _, _, *values = self.items.unpack_from(data, start)
        for n in self.perhaps:
            values[n] = None if values[n] == NONE else values[n]
        for n, optional, _, decode in self.tails:
            length = values[n]
            if length < -optional or at + length > end:
                raise ValueError(f"has no {length} bytes for {self.kind._fields[n]}")
            values[n] = decode(data[at:at + length]) if length >= 0 else None
            at += max(length, 0)
        if at < end:
            raise ValueError("is too long")
        return self.kind(*values)

    def checked(self, command: Any) -> m.Command:
        """The command. Raises ValueError for what a line could not ask for."""
        for n, name in self.limited:
            checked(name, command[n])
        return command  # type: ignore[no-any-return]


PACKINGS = {kind: Packing(kind, number) for kind, number in NUMBERS.items()}
COMMANDS = {number: PACKINGS[kind] for kind, number in NUMBERS.items() if number < 128}
REPLIES = {number: PACKINGS[kind] for kind, number in NUMBERS.items() if number >= 128}

# ---- Frames


class BadFrame(ValueError):
    """Nobody can tell where the next message begins."""


class Frames:
    """A coding, like that of lines."""

    def __init__(self, frame_max: int = FRAME_MAX):
        self.frame_max, self.buffer = frame_max, b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int, int]]:
        """Of whole frames the messages: in which bytes, from where, to where. Raises BadFrame."""
        data, at = self.buffer + data, 0
        while (start := at + LENGTH.size) <= len(data):
            at = start + LENGTH.unpack_from(data, at)[0]
            if at - start > self.frame_max:
                raise BadFrame(f"a frame holds at most {self.frame_max} bytes")
            if at > len(data):
                at = start - LENGTH.size
                break
            yield from list(_messages(data, start, at))  # of a frame that is damaged none is carried out
        self.buffer = data[at:]

    def commands(self, data: bytes) -> Iterator[m.Command | m.Error]:
        try:
            for frame, start, end in self.feed(data):
                yield _command(frame, start, end)
        except BadFrame as problem:
            yield m.Error("BAD_FRAME", str(problem))
            yield m.Quit()

    def replies(self, data: bytes) -> Iterator[m.Reply]:
        """Raises ValueError or KeyError for what is no reply."""
        for frame, start, end in self.feed(data):
            yield REPLIES[frame[start + LENGTH.size]].unpack(frame, start, end)

    def encode_command(self, command: m.Command) -> bytes:
        return PACKINGS[type(command)].pack(command)

    def encode_reply(self, reply: m.Reply) -> bytes:
        return PACKINGS[type(reply)].pack(reply)

    def wrap(self, messages: bytes) -> bytes:
        return LENGTH.pack(len(messages)) + messages


def _messages(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at < end:
        start, at = at, at + LENGTH.size
        at += LENGTH.unpack_from(data, start)[0] if at < end else 0
        if not start + LENGTH.size < at <= end:
            raise BadFrame("a message does not fit into its frame")
        yield data, start, at


def _command(frame: bytes, start: int, end: int) -> m.Command | m.Error:
    number = frame[start + LENGTH.size]
    if not (packing := COMMANDS.get(number)):
        return m.Error("UNKNOWN_COMMAND", f"number {number}; known: {' '.join(map(str, COMMANDS))}")
    try:
        return packing.checked(packing.unpack(frame, start, end))
    except ValueError as problem:
        return m.Error("BAD_ARGUMENTS", f"{packing.kind.__name__.upper()}: {problem}")


# ---- Clients


class Connection(client.Connection):
    """Speaks frames. Raises Refused if the broker does not."""

    def __init__(self, host: str, port: int, *, name: str | None = None, timeout_s: float = 10.0,
                 connect: Connect = socket.create_connection):
        super().__init__(host, port, timeout_s=timeout_s, connect=connect)
        try:
            [reply] = self.exchange("HELLO", b"HELLO binary/1\n", 1)
            if isinstance(reply, m.Error):
                raise Refused(reply.code, reply.text)
            self.coding: Any = Frames(16 * FRAME_MAX)
            if name:
                self.call(m.Hello(name))
        except Exception:
            self.close()
            raise

    def call_many(self, commands: Iterable[m.Command], extra_s: float = 0.0) -> list[Any]:
        """The outcome of each command, in order: the reply, or Refused or OutcomeUnknown, not raised.

        Raises ValueError, before anything is sent, if one of them fits into no frame.
        """
        outcomes: list[Any] = []
        waiting = deque(self.coding.encode_command(command) for command in commands)
        while waiting:
            batch, count = bytearray(), 0
            while waiting and (not count or len(batch) + len(waiting[0]) <= BATCH):
                batch += waiting.popleft()
                count += 1
            try:
                replies = self.exchange(f"{count} commands", self.coding.wrap(bytes(batch)), count, extra_s)
            except OutcomeUnknown as problem:
                never = Refused("UNREACHABLE", "the connection was lost before this was sent")
                return [*outcomes, *count * [problem], *len(waiting) * [never]]
            outcomes += [Refused(reply.code, reply.text) if isinstance(reply, m.Error) else reply
                         for reply in replies]
        return outcomes


class Producer(Connection, workers.Producer):
    def submit_many(self, payloads: Iterable[bytes | str]) -> list[int | Refused | OutcomeUnknown]:
        """For each payload the new job's id, or why there is none, or that nobody can know."""
        data = [payload.encode() if isinstance(payload, str) else payload for payload in payloads]
        outcomes = self.call_many(map(m.Submit, data))
        return [outcome.job if isinstance(outcome, m.JobId) else outcome for outcome in outcomes]


class Worker(Connection, workers.Worker):
    """With `prefetch` it takes so many jobs at once, and works on one after the other.

    Their leases are all renewed while it runs: each job tells, as `lease_s`, the shortest of those in hand.
    What it still holds when it dies is delivered again, so that many jobs lose an attempt at once.
    """

    def __init__(self, host: str, port: int, *, name: str | None = None, timeout_s: float = 10.0,
                 connect: Connect = socket.create_connection, prefetch: int = 1):
        super().__init__(host, port, name=name, timeout_s=timeout_s, connect=connect)
        self.prefetch, self.ahead = prefetch, deque[Job]()
        self.renew_at = 0.0

    def reserve(self, wait_s: float = 0.0) -> Job | None:
        if self.ahead and time.monotonic() >= self.renew_at:
            self._renew(*self.ahead)
        if not self.ahead:
            self.ahead.extend(self.reserve_many(self.prefetch, wait_s))
            self._plan()
        shortest_s = min((job.lease_s for job in self.ahead), default=0.0)
        return self.ahead.popleft()._replace(lease_s=shortest_s) if self.ahead else None

    def touch(self, job: Job) -> None:
        if problem := self._renew(job, *self.ahead)[0]:
            raise problem

    def _renew(self, *jobs: Job) -> list[Refused | OutcomeUnknown | None]:
        """Those that wait are dropped where it is too late."""
        outcomes = self._settle_many(m.Touch, jobs)
        alive = {job.id for job, problem in zip(jobs, outcomes, strict=True) if not problem}
        self.ahead = deque(job for job in self.ahead if job.id in alive)
        self._plan()
        return outcomes

    def _plan(self) -> None:
        self.renew_at = time.monotonic() + min((job.lease_s for job in self.ahead), default=0.0) / 3

    def run(self, *args: Any, **options: Any) -> None:
        """As in ring 1. What is still waiting at the end is given back, and costs no attempt."""
        try:
            super().run(*args, **options)
        finally:
            self._settle_many(m.Release, self.ahead)
            self.ahead.clear()

    def reserve_many(self, count: int, wait_s: float = 0.0) -> list[Job]:
        """Up to `count` jobs; none if none came within `wait_s`. Raises OutcomeUnknown.

        It asks for one, two, six, …: to be told EMPTY five hundred times costs the broker as much as jobs do.
        """
        jobs: list[Job] = []
        asked = 0
        while len(jobs) == asked < count:
            more = min(count, 3 * asked or 1) - asked
            questions = [m.Reserve(0.0 if asked else wait_s, queue=self.queue),
                         *(more - 1) * [m.Reserve(queue=self.queue)]]
            outcomes = self.call_many(questions, extra_s=wait_s)
            asked += more
            if problem := next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None):
                raise problem
            jobs += [Job(*reply[:5]) for reply in outcomes if isinstance(reply, m.Reserved)]
        return jobs

    def ack_many(self, jobs: Iterable[Job]) -> list[Refused | OutcomeUnknown | None]:
        """For each job None, or why it could not be acknowledged."""
        return self._settle_many(m.Ack, jobs)

    def _settle_many(self, kind: Callable[..., m.Command], jobs: Iterable[Job]) -> list[Any]:
        outcomes = self.call_many([kind(job.id, job.token) for job in jobs])
        return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]
