"""What every world offers to an experiment, be it made of real processes or simulated.

The conductor knows this interface and nothing else: no clock, no socket, no operating system. So the same
experiment, line for line, plays in both worlds.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from dsjq_lab.errors import LabError
from dsjq_lab.history import Op
from dsjq_lab.orders import Order

IN_MEMORY = "it keeps its jobs in memory, and has no disk"
Signal = Literal["kill", "term", "pause", "resume"]


class Gate(NamedTuple):
    """A client has come to a named moment, and does nothing until it is told to go.

    Two are no gates but reports: a worker's handler is `stuck`, the auditor has `kicked` (the jobs' nonces).
    """

    process: str
    event: str
    job: str


class Effect(NamedTuple):
    """A worker's finished work asks for a line in the ledger, and waits for the answer."""

    process: str
    value: dict[str, Any]


class Ready(NamedTuple):
    """The broker can be asked; or never will be."""

    process: str
    problem: LabError | None


class Exit(NamedTuple):
    """A process has ended. All that it ever reported was returned before."""

    process: str
    status: int  # negative: the signal that ended it


class Struck(NamedTuple):
    """What the lab ordered the broker's disk to do has happened, for the first time; and more about it."""

    process: str
    value: dict[str, int]


Event = Op | Gate | Effect | Ready | Exit | Struck


class World(Protocol):
    @property
    def core(self) -> bool:
        """Whether the broker speaks the four core commands alone, so that it has no counts to audit."""

    @property
    def knows_strangers(self) -> bool:
        """Whether the broker asks who comes: else nobody is a stranger."""

    @property
    def lateness_ns(self) -> int:
        """The greatest delay so far with which this machine woke a thread: the ε of this run."""

    @property
    def own_lateness_ns(self) -> int:
        """As much of it as has befallen the lab itself: too much, and the lab cannot say who has failed."""

    @property
    def ready_timeout_s(self) -> float:
        """How long a broker may take to start, before its Ready names a problem."""

    @property
    def is_durable(self) -> bool:
        """Whether the broker has a folder for its jobs."""

    def now_ns(self) -> int: ...

    def spawn(self, name: str, config: Mapping[str, Any]) -> None:
        """Starts "broker", "auditor", "worker 2" or "producer 1"; a broker's Ready comes as an event."""

    def signal(self, name: str, what: Signal) -> bool:
        """Returns when it has taken effect; False if it has not. That of a "term" is the Exit, later."""

    def tell(self, name: str, word: str) -> None:
        """Says a word to a client (workload.py: Channel); a no-op if it has ended."""

    def disk_unseen(self) -> str:
        """Why the lab does not see all that the broker does to its disk; empty if it does."""

    def why_no_order(self, order: Order) -> str:
        """Why the broker's disk cannot be told that; empty if it can."""

    def order(self, order: Order) -> bool:
        """Tells the disk of the running broker what to do; a Struck follows when it has begun to.

        False if it cannot be."""

    def lose_power(self) -> int:
        """Takes from the dead broker's disk what was not synced; how many bytes and names that were."""

    def newest_file(self) -> tuple[str, bytes] | None:
        """Of the broker's folder: its name, and what is in it; None if nothing was written there."""

    def overwrite(self, name: str, data: bytes) -> None:
        """Puts that into a file of the dead broker's folder."""

    def clock_unreachable(self) -> str:
        """Why the lab cannot set the broker's wall clock; empty if it can."""

    def step_clock(self, seconds: float) -> None:
        """Sets the broker's wall clock forward, or back; it stays so over the broker's restarts."""

    def unlimitable(self) -> str:
        """Why the lab cannot limit what the broker uses; empty if it can."""

    def limit_descriptors(self, spare: int) -> bool:
        """Leaves the broker so many more; a Struck follows when it has none left.

        False if it cannot be."""

    def limit_files(self, spare_bytes: int) -> bool:
        """Lets no file of the broker grow more than that beyond the longest; a Struck follows when one would.

        False if the broker has ended."""

    def lift_limit(self) -> None:
        """Ends that."""

    def limit_memory(self, spare_bytes: int) -> bool:
        """Has the broker killed once it uses so much more than now; False if it has ended."""

    def disturb(self, name: str, verb: str, options: Mapping[str, Any]) -> bool:
        """Begins to disturb a client's link, or with "broker" all links; a Struck follows once it has bitten.

        False if it cannot be. What the verbs mean: disturbances.py.
        """

    def calm(self, name: str) -> None:
        """Ends that; what was held on the way arrives now."""

    def next_events(self, deadline_ns: int) -> list[Event]:
        """What has happened since it was asked last, or else happens next; empty at the deadline."""

    def record(
        self, process: str, f: str, value: Mapping[str, Any], type: str = "info", error: str | None = None
    ) -> Op:
        """Writes what the lab itself did, or saw, to the history."""

    def resources(self, name: str) -> dict[str, int]:
        """How many threads, descriptors and resident_bytes a process has, and how many cpu_ms it has used.

        Empty if it has ended.
        """

    def collect(self) -> None:
        """Adds to the history what the broker itself has recorded of this run, if it keeps a trace."""
