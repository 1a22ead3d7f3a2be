"""Everything that is ever said: commands to the broker, its replies, and the records of what changed.

Plain immutable tuples that know nothing of sockets, bytes on the wire, or each other. A codec
turns them into bytes; the core decides what they mean.
"""
from typing import Any, NamedTuple


class OfJob(NamedTuple):
    job: int


class OfLease(NamedTuple):
    job: int
    token: str | None = None  # narrows it to one delivery


# ---- Commands: what a client asks for.


class Submit(NamedTuple):
    payload: bytes
    delay_s: float = 0.0
    priority: int = 0  # the smaller goes first
    lease_s: float = 0.0  # 0: the broker's ack timeout
    retries: int | None = None  # after the first attempt; None: the broker's limit
    key: str = ""  # whoever submits twice with one key gets one job


class Reserve(NamedTuple):
    wait_s: float = 0.0
    short: bool = False  # asked as REQUEST, so answered as JOB
    queue: str = ""  # the one that everybody shares; extensions/routing.py has others


class Ack(OfLease):
    """It is done."""


class Fail(OfLease):
    """It did not work out."""


class Touch(OfLease):
    """I am still at it: renew the lease."""


class Release(OfLease):
    """Take it back: I have not begun."""


class Kick(OfJob):
    """Give it another chance."""


class Status(OfJob):
    """How is it?"""


class Stats(NamedTuple):
    """How many jobs are in which state."""


class Jobs(NamedTuple):
    state: str | None = None
    after: int = 0  # only jobs with a greater id: how a client turns the page
    limit: int = 100


class Hello(NamedTuple):
    name: str = ""


class Ping(NamedTuple):
    """Are you there?"""


class Quit(NamedTuple):
    """Answer, and hang up."""


class Disconnect(NamedTuple):
    """What a connection's end means to the core. No client can send it."""


Command = (Submit | Reserve | Ack | Fail | Touch | Release | Kick | Status | Stats | Jobs | Hello | Ping
           | Quit | Disconnect)

# ---- Replies: exactly one for each command, in order.


class Ok(NamedTuple):
    """It is done."""


class Pong(NamedTuple):
    """I am here."""


class JobId(OfJob):
    """It is here, by this name."""


class Empty(NamedTuple):
    """No job for you now."""


class Reserved(NamedTuple):
    job: int
    payload: bytes
    token: str = ""
    attempt: int = 0
    lease_s: float = 0.0
    short: bool = False


class Report(NamedTuple):
    about: str  # STATUS, STATS or JOBS
    data: Any  # whatever JSON can say


class Error(NamedTuple):
    code: str
    text: str
    job: int = 0  # which it tells about, if the command does not name that


Reply = Ok | Pong | JobId | Empty | Reserved | Report | Error

# ---- Records: what happened to a job. Applied in order, they are the state.


class Submitted(NamedTuple):
    job: int
    payload: bytes
    start_at: float = 0.0
    priority: int = 0
    lease_s: float = 0.0  # here and below, 0: as the broker has it when it matters
    max_attempts: int = 0
    key: str = ""
    queue: str = ""


class Delayed(Submitted):
    """Submitted, but nobody gets it before `start_at`."""


class Matured(OfJob):
    """Its delay is over."""


class Delivered(NamedTuple):
    job: int
    holder: int
    token: str
    deadline: float
    attempt: int = 1


class Touched(NamedTuple):
    job: int
    deadline: float


class Acked(OfJob):
    """It is done, for good."""


class Failed(NamedTuple):
    job: int
    retry_at: float


class Retried(OfJob):
    """Its pause after a failure is over."""


class Requeued(NamedTuple):
    job: int
    why: str  # disconnect or expiry


class Released(OfJob):
    """Its worker gave it back unharmed."""


class Died(NamedTuple):
    job: int
    why: str  # the bad end of its last attempt


class Kicked(OfJob):
    """It has another chance."""


Record = (Submitted | Delayed | Matured | Delivered | Touched | Acked | Failed | Retried | Requeued | Released
          | Died | Kicked)
