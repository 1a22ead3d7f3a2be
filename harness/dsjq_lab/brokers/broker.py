"""What the lab must know of a broker in order to start it. What it does is found out from the outside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from dsjq_lab import workload
from dsjq_lab.door import Door
from dsjq_lab.tongues import LINES, Tongue


class Place(NamedTuple):
    """Where a broker is to run, and with which options."""

    host: str
    port: int
    data: Path  # a folder of its own, which survives its restarts
    ack_timeout_s: float
    max_attempts: int
    store: str  # "memory": what it is asked to keep ends with it
    backoff_s: float | None = None
    backoff_cap_s: float = 0.0
    door: Door | None = None


class Broker(ABC):
    name: str  # in headings, and in `expect … with`
    core: bool  # speaks the four core commands alone: it is not greeted, and nobody asks for its counts
    is_python: bool  # started as `python FILE …` or `python -m MODULE …`: the lab can load its shim first
    limits_attempts: bool  # it was told the limit, so that it may be held to it
    tongue: ClassVar[Tongue | None] = LINES  # on the wire; of what is said in another, only bytes are seen
    gives_back_at_disconnect = True  # else a job waits for the end of its lease, also if its worker is gone
    has_door = False  # can be told to speak TLS, and whom to let in
    ready_within_s: float | None = None  # None: it is quick
    not_asked: ClassVar[Mapping[str, str]] = {}  # invariants that say nothing of it, and why
    lacks_topics = ""  # what it has instead of exchanges to bind to; a black box is asked
    attached = ""  # the address of one that already runs: it is not ours to start, to stop or to strike

    @abstractmethod
    def command(self, place: Place) -> list[str]: ...

    def is_durable(self, store: str) -> bool:
        """Whether it is given a folder for its jobs, so that it may be held to keep them."""
        return store != "memory"

    def ack_timeout_s(self, wanted_s: float) -> float:
        """The nearest that it can keep."""
        return wanted_s

    def is_ready(self, place: Place) -> bool:
        """Asked once it listens, and again until it is: whether faults may begin."""
        return True

    def client(self) -> list[str]:
        """The program of its clients."""
        return ["-S", "-I", workload.__file__]

    def reached_at(self, place: Place) -> Place:
        """Where its clients find it, if nobody stands in between."""
        return place

    def introduce(self, place: Place) -> dict[str, Any]:
        """What its clients are told beyond the port."""
        return {}

    def options(self) -> dict[str, Any]:
        """For the header of a history, so that the same kind can be found again."""
        return {"core": True} if self.core else {}

    def environment(self, place: Place) -> dict[str, str]:
        """Added to the environment of the lab."""
        return {"PYTHONUNBUFFERED": "1"}
