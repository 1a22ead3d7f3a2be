"""What can be seen of a queue from outside: calls and what they brought, faults, and the lab's own notes.

An observer never learns when something happened in the broker, only an interval: after the invocation,
before the return. So a delivery keeps what is *certain* apart from what is *possible*, and whenever a moment
is in doubt the one is chosen that accuses less. Two intervals are certain:

- In [returned_ns, held_until_ns) the job is in its holder's hands: nobody else may get it. It begins as late,
  and ends as early, as it can have done.
- From back_ns on it is out of these hands, and back in the queue unless an ACK of it has counted: whoever
  asks may get it. That moment is as late as a correct broker can make it.
"""

import math
from typing import Any, NamedTuple

UNFELT = frozenset({"clock_step"})  # faults that excuse no broker, since it must not notice


def nonce_of(payload: str) -> str:
    """The name of a job is the first word of its payload: a SUBMIT whose reply was lost has no id."""
    return payload.split(" ", 1)[0]


class Call(NamedTuple):
    """An operation of a client, its invocation and its completion seen as one interval."""

    f: str
    process: str
    conn: str
    invoked_ns: int
    returned_ns: float  # infinite: its client was killed while it waited
    outcome: str  # "ok", "fail": definitely did not happen, "info": may happen any time after its invocation
    ops: tuple[int, ...]


class Delivery:
    """A job handed to a client, and what the client then did with it."""

    __slots__ = (
        "accepted",
        "attempt",
        "back_ns",
        "call",
        "cut_ns",
        "held_until_ns",
        "id",
        "incarnation",
        "invoked_ns",
        "lapsed_ns",
        "nonce",
        "payload",
        "returned_ns",
        "settles",
        "token",
    )

    # What follows is known once all is read (intervals.py).
    incarnation: int | None  # which life of the broker gave it out; None: in doubt
    accepted: Call | None  # its ACK that was answered OK, unless an earlier one may have counted
    cut_ns: float  # the earliest moment at which its connection, or the broker, may have died
    held_until_ns: float
    lapsed_ns: float  # by when its time is over in any case
    back_ns: float

    def __init__(self, call: Call, nonce: str, returned_ns: int, value: dict[str, Any]) -> None:
        self.call = call
        self.invoked_ns = call.invoked_ns
        self.returned_ns = returned_ns
        self.id: str = value["id"]
        self.payload: str = value["payload"]
        self.nonce = nonce
        self.token: str | None = value.get("token")
        self.attempt: int | None = value.get("attempt")
        self.settles: list[Call] = []  # the holder's own ack, fail, release and touch

    @property
    def is_free(self) -> bool:
        """It was certainly released: then it counts towards no limit."""
        return any(call.f == "release" and call.outcome == "ok" for call in self.settles)

    @property
    def holder(self) -> tuple[str, str | None]:
        return self.call.conn, self.token


class Job:
    """All that was seen of one nonce."""

    __slots__ = (
        "acks",
        "confirmed_ns",
        "copies",
        "delay_ns",
        "deliveries",
        "finished_ns",
        "is_single",
        "nonce",
        "payload",
        "priority",
        "submits",
    )

    def __init__(self, nonce: str, payload: str, priority: int = 0, delay_ns: int = 0) -> None:
        self.nonce = nonce
        self.payload = payload
        self.priority = priority  # the smaller goes first
        self.delay_ns = delay_ns  # from its submission until it may be delivered
        self.submits: list[Call] = []
        self.confirmed_ns = math.inf  # when the first of those answered ok returned
        self.deliveries: list[Delivery] = []  # in the order of their return
        self.acks: list[Call] = []  # by whomever
        self.finished_ns = math.inf  # the earliest moment at which an ACK may have counted
        self.is_single = True  # at most one of its SUBMITs may have counted
        # Its deliveries, one list for each job that the broker knows: a producer that retries after an
        # unknown outcome may put the same nonce there twice, which is legal. Those copies are told apart by
        # their ids, each within one memory of the broker, and deliveries in doubt are left out.
        self.copies: list[list[Delivery]] = []

    @property
    def acknowledged(self) -> bool:
        """The broker took responsibility for it."""
        return self.confirmed_ns < math.inf

    @property
    def is_done(self) -> bool:
        """An ACK of it was answered OK."""
        return any(ack.outcome == "ok" for ack in self.acks)


class Keyed(NamedTuple):
    """A SUBMIT with an idempotency key."""

    call: Call
    nonce: str
    payload: str
    id: str | None
    error: str | None


class LostRequest(NamedTuple):
    """A request of unknown outcome: until its connection was certainly over it may have held any job."""

    invoked_ns: int
    over_ns: float


class Listing(NamedTuple):
    """What the broker listed as dead."""

    call: Call
    jobs: list[tuple[str, str]]  # (id, nonce)


class Connection(NamedTuple):
    """One that was answered, until it was certainly over."""

    opened_ns: int
    over_ns: float


class Strike(NamedTuple):
    """One fault: when it was begun, when it was seen to bite (if it did), when it was healed."""

    fault: int
    verb: str
    victim: str
    exact: bool
    begin_ns: int
    struck_ns: int | None
    end_ns: int | None
    holding: str | None  # the nonce of the job that the victim certainly or possibly held


class Death(NamedTuple):
    """The broker died at some moment of this interval, or may have."""

    begin_ns: int
    until_ns: float  # when the next incarnation was ready
    harms_disk: bool = False  # what was written, and not yet safe, may be gone as well
    polite: bool = False  # it was told to stop, so it may have taken back what was in flight, unharmed


class FailedSync(NamedTuple):
    """What was written since the last good one is not safe, and nobody knows how much of it was lost."""

    covers_from_ns: int  # when the last good one, of any file, had returned
    failed_ns: int  # when it failed, or was seen to have
    ops: tuple[int, ...]


class End(NamedTuple):
    """The lab's last word: was the run complete, and was the lab's own side in order?"""

    time_ns: int
    drained: bool
    why: str
    healthy: bool
    epsilon_ns: int
    decided: bool = False  # the broker ended by itself: what it has not done by now it never will
