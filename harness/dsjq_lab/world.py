"""What every world offers to an experiment, be it made of real processes or simulated.

The conductor knows this interface and nothing else: no clock, no socket, no operating system. So the same
experiment, line for line, plays in both worlds.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from dsjq_lab.history import Op

Signal = Literal["kill", "term", "pause", "resume"]


class Gate(NamedTuple):
    """A client waits at a named moment, and does nothing until `World.go`."""

    process: str
    event: str
    job: str


class Exit(NamedTuple):
    """A process has ended. All that it ever reported was returned before."""

    process: str
    status: int  # negative: the signal that ended it


Event = Op | Gate | Exit


class World(Protocol):
    @property
    def lateness_ns(self) -> int:
        """The greatest delay so far with which this machine woke a thread: the ε of this run."""

    def now_ns(self) -> int: ...

    def spawn(self, name: str, config: Mapping[str, Any]) -> None:
        """Starts "broker", "auditor", "worker 2" or "producer 1"; a broker is ready on return."""

    def signal(self, name: str, what: Signal) -> bool:
        """Returns when it has taken effect; False if it has not. That of a "term" is the Exit, later."""

    def go(self, name: str) -> None:
        """Lets a client pass the gate at which it waits; a no-op if it has been killed there."""

    def stop(self, name: str) -> None:
        """Asks a client to finish what it has in hand, and exit."""

    def next_event(self, deadline_ns: int) -> Event | None:
        """The next thing that happened; None if nothing has until the deadline."""

    def record(self, process: str, f: str, value: Mapping[str, Any]) -> Op:
        """Writes what the lab itself did, or saw, to the history (as type info)."""
