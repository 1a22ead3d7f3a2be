"""What a fault is, and what it may use."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol

from dsjq_lab.cast import Strike
from dsjq_lab.world import Signal


class Lab(Protocol):
    def signal(self, name: str, what: Signal) -> bool:
        """Whether it was seen to have taken effect; that of a "term" is the exit, later."""

    def start(self, name: str) -> None:
        """Starts the process again, as what it was."""

    def tell(self, name: str, word: str) -> None:
        """Says a word to a client (workload.py: Channel)."""

    def later(self, seconds: float, action: Callable[[], None]) -> int:
        """Does something in a while, unless the experiment is over by then; at which time, in ns."""

    def note(self, process: str, f: str, value: Mapping[str, Any]) -> int:
        """Writes to the history what the lab, or its nemesis, has done; with which time, in ns."""


class Fault(ABC):
    # It has struck when its effect was seen at once, or its victim's exit, or when its victim says so.
    shown_by: ClassVar[Literal["effect", "exit", "report"]]

    @abstractmethod
    def strike(self, lab: Lab, strike: Strike) -> bool:
        """Begins it. False if it did not bite."""

    @abstractmethod
    def heal(self, lab: Lab, strike: Strike) -> None:
        """Ends it."""
