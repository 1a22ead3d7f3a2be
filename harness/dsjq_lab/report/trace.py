"""What happened, message by message, and what led to what: the model behind every picture.

Events lie on lanes, one lane a process; messages go from an event of one lane to an event of another. Event
A *happened before* event B (Lamport 1978) if a chain of steps along lanes and of messages leads from A to B;
otherwise nobody in the system could have known their order, and they are concurrent. Vector clocks decide it:
each event carries, for every lane, how many of its events lie in the past. The clocks are computed here, from
the messages, and never carried on the wire: a process that is killed takes its own records with it.

telling.py makes a trace out of a history, whoever wrote that: live processes, the explorer, a foreign broker.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

FAULTS = ("fault", "hang", "heal")  # the kinds of events that befall a process
DELIVERED, LOST, UNKNOWN = "delivered", "lost", "unknown"  # what became of a message


class Event(NamedTuple):
    """One moment of one process."""

    index: int  # type: ignore[assignment]  # its place in the trace: causes come first  (hides tuple.index)
    time_ns: int
    lane: str
    kind: str  # ask, serve, hear: the moments of a call; fault, hang, heal; clock: what time brought about
    text: str
    jobs: tuple[str, ...] = ()  # what it is about, by nonce
    state: str = ""  # what the job became by it
    ops: tuple[int, ...] = ()  # the operations of the history that tell of it
    call: int | None = None  # the index of the event that asked
    measured: bool = True  # False: only known to lie between the question and the answer
    idle: bool = False  # nothing was asked of a job, and nothing went wrong


class Message(NamedTuple):
    source: int  # the index of an event
    target: int | None  # None: it did not arrive, as far as anybody knows
    lane: str  # where it went
    text: str
    fate: str


class Band(NamedTuple):
    """A time in which a process was dead, or alive and not itself."""

    lane: str
    kind: str  # dead, hung
    begin_ns: int
    end_ns: int
    text: str


class Trace:
    """Events in an order in which no effect comes before its cause."""

    def __init__(
        self,
        title: str,
        start_ns: int,
        lanes: Sequence[str],
        events: list[Event],
        messages: list[Message],
        bands: list[Band],
    ) -> None:
        self.title, self.start_ns, self.lanes = title, start_ns, lanes
        self.events, self.messages, self.bands = events, messages, bands

    def seconds(self, event: Event) -> float:
        return (event.time_ns - self.start_ns) / 1e9

    @cached_property
    def sent(self) -> dict[int, Message]:
        """By the index of the event that sent it; there is at most one."""
        return {message.source: message for message in self.messages}

    @cached_property
    def heard(self) -> dict[int, Message]:
        """By the index of the event that it led to."""
        return {message.target: message for message in self.messages if message.target is not None}

    # -- What led to what

    @cached_property
    def clocks(self) -> list[tuple[int, ...]]:
        """The vector clock of each event, in the order of `lanes`."""
        place = {lane: number for number, lane in enumerate(self.lanes)}
        now = {lane: (0,) * len(place) for lane in place}
        clocks: list[tuple[int, ...]] = []
        for event in self.events:
            clock = list(now[event.lane])
            if heard := self.heard.get(event.index):
                clock = list(map(max, clock, clocks[heard.source]))
            clock[place[event.lane]] += 1
            now[event.lane] = tuple(clock)
            clocks.append(now[event.lane])
        return clocks

    def happened_before(self, one: Event, other: Event) -> bool:
        own = self.lanes.index(one.lane)
        return one != other and self.clocks[one.index][own] <= self.clocks[other.index][own]

    def past(self, event: Event) -> list[Event]:
        """All that can have led to it."""
        return [other for other in self.events[: event.index] if self.happened_before(other, event)]

    def concurrent(self, event: Event) -> list[Event]:
        """All of which it neither knew nor was known."""
        return [
            other
            for other in self.events
            if other != event
            and not self.happened_before(other, event)
            and not self.happened_before(event, other)
        ]

    # -- Slices

    def told_by(self, ops: Collection[int]) -> list[Event]:
        """The events that these operations of the history tell of."""
        return [event for event in self.events if not set(ops).isdisjoint(event.ops)]

    def busy(self) -> list[Event]:
        """All but the questions that came to nothing: empty queues, audits, greetings."""
        return [event for event in self.events if not event.idle]

    def of_jobs(self, jobs: Collection[str]) -> list[Event]:
        """Their lives, with the faults that hit their holders, or the broker once it knew of them."""
        slice: list[Event] = []
        for event in self.events:
            struck_all = event.kind in FAULTS and event.lane == "broker" and slice
            if struck_all or not set(jobs).isdisjoint(event.jobs):
                slice.append(event)
        return slice

    def causes(self, effects: Sequence[Event]) -> list[Event]:
        """What led to these events, as far as their own jobs are concerned: whole calls, and earlier faults.

        Lamport's past alone would be too much of a slice: by way of the broker it holds nearly everything.
        And it would be too little: that a worker fell silent is a cause, though no message tells of it.
        """
        life = self.of_jobs({job for event in effects for job in event.jobs})
        last = max((event.index for event in effects), default=-1)
        past = {
            event.index for event in life
            if event in effects or (event.kind in FAULTS and event.index < last)
            or any(self.happened_before(event, effect) for effect in effects)
        }  # fmt: skip
        calls = {event.call for event in life if event.index in past and event.call is not None}
        return [event for event in life if event.index in past or event.call in calls]

    def around(self, event: Event, count: int) -> list[Event]:
        """The events that surround it in time, as many."""
        others = [other for other in self.events if not other.idle or other is event]
        middle = others.index(event)
        first = max(0, min(middle - count // 2, len(others) - count))
        return others[first : first + count]


def abridged(events: Sequence[Event], effects: Collection[Event], limit: int) -> list[Event]:
    """So many of them, at most: how it began, and what came last before the effects, or else at all."""
    if len(events) <= limit:
        return list(events)
    opening = limit // 8
    last = max((place for place, event in enumerate(events) if event in effects), default=len(events) - 1)
    end = min(len(events), max(last + opening, limit))
    return [*events[:opening], *events[end - limit + opening : end]]


def gaps(events: Iterable[Event]) -> list[int]:
    """How long nothing happened before each of the events, where that is long beside the whole; else 0."""
    times = [event.time_ns for event in events]
    before = [later - sooner for sooner, later in pairwise(times)]
    long_ns = max(10_000_000, (times[-1] - times[0]) // 20) if times else 0
    return [0, *(gap if gap >= long_ns else 0 for gap in before)] if times else []
