"""What a fault is, and what it may use."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol

from dsjq_lab.cast import Strike
from dsjq_lab.orders import Order
from dsjq_lab.world import Signal


class Lab(Protocol):
    def signal(self, name: str, what: Signal) -> bool:
        """Whether it was seen to have taken effect; that of a "term" is the exit, later."""

    def start(self, name: str) -> None:
        """Starts the process again, as what it was."""

    def tell(self, name: str, word: str) -> None:
        """Says a word to a client (workload.py: Channel)."""

    @property
    def is_durable(self) -> bool:
        """Whether the broker has a folder for its jobs."""

    def disk_unseen(self) -> str:
        """Why the lab does not see all that the broker does to its disk; empty if it does."""

    def why_no_order(self, order: Order) -> str:
        """Why the broker's disk cannot be told that; empty if it can."""

    def order(self, order: Order) -> bool:
        """Tells the broker's disk what to do. False if it cannot be."""

    def lose_power(self) -> int:
        """Takes from the dead broker's disk what was not synced; how many bytes and names that were."""

    def newest_file(self) -> tuple[str, bytes] | None:
        """Of the broker's folder: its name, and what is in it; None if nothing was written there."""

    def overwrite(self, name: str, data: bytes) -> None:
        """Puts that into a file of the dead broker's folder."""

    def clock_unreachable(self) -> str:
        """Why the lab cannot set the broker's wall clock; empty if it can."""

    def step_clock(self, seconds: float) -> None:
        """Sets the broker's wall clock forward, or back."""

    def unlimitable(self) -> str:
        """Why the lab cannot limit what the broker uses; empty if it can."""

    def limit_descriptors(self, spare: int) -> bool:
        """Leaves the broker so many more. False if it cannot be."""

    def limit_files(self, spare_bytes: int) -> bool:
        """Lets no file of the broker grow more than that beyond the longest. False if it has ended."""

    def lift_limit(self) -> None:
        """Ends that."""

    def limit_memory(self, spare_bytes: int) -> bool:
        """Has the broker killed once it uses so much more than now; False if it has ended."""

    def disturb(self, name: str, verb: str, options: Mapping[str, Any]) -> bool:
        """Begins to disturb a client's link, or with "broker" all links; False if it cannot be."""

    def calm(self, name: str) -> None:
        """Ends that."""

    def later(self, seconds: float, action: Callable[[], None]) -> int:
        """Does something in a while, unless the experiment is over by then; at which time, in ns."""

    def note(self, process: str, f: str, value: Mapping[str, Any]) -> int:
        """Writes to the history what the lab, or its nemesis, has done; with which time, in ns."""


class Fault(ABC):
    # It has struck when its effect was seen at once, or its victim's exit, or when its victim says so.
    shown_by: ClassVar[Literal["effect", "exit", "report"]]

    may_end_it: ClassVar[bool] = False  # a victim that then ends by itself does well, and is started again

    def why_not(self, lab: Lab, strike: Strike) -> str:
        """Why it cannot be done here; empty if it can."""
        return ""

    @abstractmethod
    def strike(self, lab: Lab, strike: Strike) -> bool:
        """Begins it. False if it did not bite."""

    @abstractmethod
    def heal(self, lab: Lab, strike: Strike) -> bool:
        """Ends it. False if it is not over before its victim is up again."""
