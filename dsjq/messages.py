"""Everything that is ever said: commands to the broker, its replies, and the records of what changed.

Plain immutable tuples that know nothing of sockets, bytes on the wire, or each other. A codec
turns them into bytes; the core decides what they mean.
"""
from typing import Any, NamedTuple

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


class Ack(NamedTuple):
    job: int
    token: str | None = None


class Fail(NamedTuple):
    job: int
    token: str | None = None


class Touch(NamedTuple):
    job: int
    token: str | None = None


class Release(NamedTuple):
    job: int
    token: str | None = None


class Kick(NamedTuple):
    job: int


class Status(NamedTuple):
    job: int


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


class JobId(NamedTuple):
    job: int


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


class Delayed(Submitted):
    """Submitted, but nobody gets it before `start_at`."""


class Matured(NamedTuple):
    job: int


class Delivered(NamedTuple):
    job: int
    holder: int
    token: str
    deadline: float
    attempt: int = 1


class Touched(NamedTuple):
    job: int
    deadline: float


class Acked(NamedTuple):
    job: int


class Failed(NamedTuple):
    job: int
    retry_at: float


class Retried(NamedTuple):
    job: int


class Requeued(NamedTuple):
    job: int
    why: str  # disconnect or expiry


class Released(NamedTuple):
    job: int


class Died(NamedTuple):
    job: int
    why: str  # the bad end of its last attempt


class Kicked(NamedTuple):
    job: int


Record = (Submitted | Delayed | Matured | Delivered | Touched | Acked | Failed | Retried | Requeued | Released
          | Died | Kicked)
