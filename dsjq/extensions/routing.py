"""Who gets a copy: producers publish to an exchange, and its bindings say into which queues that goes.

    producer --PUBLISH--> exchange --binding--> queue --RESERVE queue=…--> workers

A producer names no queue, and a queue no producer: so either may change without the other knowing. What is
published becomes a job in each queue that a binding leads to, one however many lead there; from then on the
copies have nothing to do with each other. The rules are RabbitMQ's (AMQP 0-9-1, and what it really does).

A queue or a binding is kept like a job: by records in the same log. Importing this file adds its rows to the
tables of ring 1, which knows no more of it than that a job waits in the line of its queue.
"""
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

from .. import messages as m
from ..lifecycle import DECISIONS, DONE, EFFECTS, STATES, Queue, decide
from ..text import COMMANDS, OPTIONS, WORDS, alone, options_of, with_options

NAME_MAX = 255  # bytes, of a name or a routing key
NAMES_MAX = 1000  # queues and exchanges
BINDINGS_MAX = 1000  # of one exchange: whoever publishes tries them all, under the broker's lock

# ---- What is said


class Declare(NamedTuple):
    kind: str  # queue, or what the exchange is: direct, fanout or topic
    name: str


class Bind(NamedTuple):
    queue: str
    exchange: str
    routing_key: str  # of a topic exchange: a pattern


class Unbind(Bind):
    """Let it lead there no longer."""


class Publish(NamedTuple):
    exchange: str
    routing_key: str
    payload: bytes
    delay_s: float = 0.0  # this and what follows: as in Submit, for each copy
    priority: int = 0
    lease_s: float = 0.0
    retries: int | None = None
    key: str = ""


class Topology(NamedTuple):
    """Which queues, exchanges and bindings are there, and how are the queues?"""


class Copies(m.Report):
    """JOB_IDS: where a publish went."""

    @property
    def job(self) -> int:
        """The latest: when that is safe, so are the others."""
        return int(max(self.data))


# ---- What happened. Each may happen again, and nothing more comes of it.


class Declared(NamedTuple):
    kind: str
    name: str


class Bound(NamedTuple):
    queue: str
    exchange: str
    routing_key: str


class Unbound(Bound):
    """It does not lead there any longer."""


class Unrouted(NamedTuple):
    exchange: str
    times: int  # by now


RECORDS = (Declared, Bound, Unbound, Unrouted)

# ---- Where it goes


def matches(pattern: str, key: str) -> bool:
    """Words are what dots part. `*` is one word, also an empty one; `#` any number of them, also none."""
    words = _words(key)
    reached = {0}  # how many of the key's words the pattern may have used up by now
    for wanted in _words(pattern):
        if wanted == "#":
            reached = set(range(min(reached, default=len(words) + 1), len(words) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(words) and wanted in ("*", words[at])}
    return len(words) in reached


def _words(key: str) -> list[str]:
    return key.split(".") if key else []  # the empty key has no words, "." has two empty ones


KINDS: dict[str, Callable[[str, str], bool]] = {
    # whether a binding's key lets a publish's key through
    "direct": lambda bound, key: bound == key, "fanout": lambda bound, key: True, "topic": matches,
}


class Exchange:
    def __init__(self, kind: str):
        self.kind = kind
        self.bindings: dict[tuple[str, str], None] = {}  # (queue, routing key), in their order
        self.unroutable = 0

    def queues(self, key: str) -> list[str]:
        """Each once: bound twice is not copied twice."""
        lets_through = KINDS[self.kind]
        return list(dict.fromkeys(queue for queue, bound in self.bindings if lets_through(bound, key)))


# ---- decide


def _declare(queue: Queue, command: Declare, holder: int, now: float) -> Any:
    if command.kind not in ("queue", *KINDS):
        return m.Error("BAD_ARGUMENTS", f"DECLARE: kind is one of queue {' '.join(KINDS)}"), []
    if not command.name or _is_long(command.name):
        return m.Error("BAD_ARGUMENTS", f"DECLARE: a name has 1 to {NAME_MAX} bytes"), []
    known: dict[str, Any] = queue.lines if command.kind == "queue" else queue.exchanges
    if known is queue.exchanges and command.name in known and known[command.name].kind != command.kind:
        return m.Error("KIND_CONFLICT", f"{command.name!r} is a {known[command.name].kind} exchange"), []
    if command.name not in known and len(queue.lines) + len(queue.exchanges) > NAMES_MAX:
        return m.Error("TOPOLOGY_FULL", f"at most {NAMES_MAX} queues and exchanges"), []
    return m.Ok(), [Declared(*command)]


def _bind(queue: Queue, command: Bind, holder: int, now: float) -> Any:
    if problem := _problem(queue, command):
        return problem, []
    exchange: Exchange = queue.exchanges[command.exchange]
    if command.queue not in queue.lines:
        return m.Error("NO_SUCH_QUEUE", f"no queue {command.queue!r} here"), []
    if isinstance(command, Unbind):
        return m.Ok(), [Unbound(*command)]
    known = (command.queue, command.routing_key) in exchange.bindings
    if not known and len(exchange.bindings) >= BINDINGS_MAX:
        return m.Error("TOPOLOGY_FULL", f"at most {BINDINGS_MAX} bindings of one exchange"), []
    return m.Ok(), [Bound(*command)]


def _publish(queue: Queue, command: Publish, holder: int, now: float) -> Any:
    if problem := _problem(queue, command):
        return problem, []
    exchange: Exchange = queue.exchanges[command.exchange]
    jobs: list[int] = []
    records: list[Any] = []
    for name in exchange.queues(command.routing_key):
        key = f"{name} {command.key}" if command.key else ""  # a key is a queue's own
        reply, new = decide(queue, m.Submit(*command[2:-1], key), holder, now)
        if not isinstance(reply, m.JobId):
            return reply, []
        jobs.append(queue.submitted + len(records) + 1 if new else reply.job)
        records += [cast(m.Submitted, record)._replace(job=jobs[-1], queue=name) for record in new]
    if not jobs:
        nowhere = m.Error("UNROUTABLE", f"no binding of {command.exchange!r} leads anywhere with this key")
        return nowhere, [Unrouted(command.exchange, exchange.unroutable + 1)]
    return Copies("JOB_IDS", jobs), records


def _problem(queue: Queue, command: Bind | Publish) -> m.Error | None:
    if command.exchange not in queue.exchanges:
        return m.Error("NO_SUCH_EXCHANGE", f"no exchange {command.exchange!r} here")
    if _is_long(command.routing_key):
        return m.Error("BAD_ARGUMENTS", f"a routing key has at most {NAME_MAX} bytes")
    return None


def _is_long(name: str) -> bool:
    return len(name.encode()) > NAME_MAX


def _topology(queue: Queue, command: Topology, holder: int, now: float) -> Any:
    counts = Counter((job.queue, job.state) for job in queue.jobs.values())
    alive = [state for state in STATES if state != DONE]
    queues = {name: {state.lower(): counts[name, state] for state in alive} for name in queue.lines}
    exchanges = {name: {"kind": exchange.kind, "bindings": list(exchange.bindings),
                        "unroutable": exchange.unroutable} for name, exchange in queue.exchanges.items()}
    return m.Report("TOPOLOGY", {"queues": queues, "exchanges": exchanges}), []


DECISIONS.update({Declare: _declare, Bind: _bind, Unbind: _bind, Publish: _publish, Topology: _topology})

# ---- apply


def _declared(queue: Queue, job: None, record: Declared) -> None:
    if record.kind == "queue":
        queue.lines.setdefault(record.name, {})
    else:
        queue.exchanges.setdefault(record.name, Exchange(record.kind))


def _bound(queue: Queue, job: None, record: Bound) -> None:
    queue.exchanges[record.exchange].bindings[record.queue, record.routing_key] = None


def _unbound(queue: Queue, job: None, record: Unbound) -> None:
    queue.exchanges[record.exchange].bindings.pop((record.queue, record.routing_key), None)


def _unrouted(queue: Queue, job: None, record: Unrouted) -> None:
    queue.exchanges[record.exchange].unroutable = record.times


EFFECTS.update({Declared: _declared, Bound: _bound, Unbound: _unbound, Unrouted: _unrouted})


def topology(queue: Queue) -> Iterator[Declared | Bound | Unrouted]:
    """The shortest history with this end."""
    for name in filter(None, queue.lines):
        yield Declared("queue", name)
    for name, exchange in queue.exchanges.items():
        yield Declared(exchange.kind, name)
        yield from (Bound(bound, name, key) for bound, key in exchange.bindings)
        yield Unrouted(name, exchange.unroutable)


# ---- In lines


def _said(kind: Any, words_min: int, rest: bytes) -> m.Command:
    words = rest.decode().split(" ")
    if not words_min <= len(words) <= len(kind._fields):
        raise ValueError(f"takes {', '.join(kind._fields)}")
    words += [""] * (len(kind._fields) - len(words))
    return kind(*words)  # type: ignore[no-any-return]


def _published(rest: bytes) -> m.Command:
    head, dashes, payload = rest.partition(b" -- ")
    exchange, _, words = head.partition(b" ")
    routing_key, _, options = words.partition(b" ")
    if not dashes:
        raise ValueError("takes exchange, routing_key, options, then ` -- ` and the payload")
    return with_options(Publish, options, exchange.decode(), routing_key.decode(), payload)


def _publish_words(command: Publish) -> str:
    if command.routing_key == "--" or " " in command.exchange + command.routing_key:
        raise ValueError("a routing key in a line is not `--`, and has no spaces")
    return f"PUBLISH {command.exchange} {command.routing_key}{options_of(command)} -- "


OPTIONS.update(dict.fromkeys(("kind", "exchange", "routing_key"), (str, 0, 0)))  # they have no spaces
COMMANDS.update({
    b"DECLARE": partial(_said, Declare, 2), b"BIND": partial(_said, Bind, 2),
    b"UNBIND": partial(_said, Unbind, 2), b"PUBLISH": _published,
    b"TOPOLOGY": partial(alone, cast(m.Command, Topology())),
})
WORDS[Publish] = _publish_words
