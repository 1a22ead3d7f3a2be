"""What a fault is, and what it may use."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol

from dsjq_lab.cast import Strike
from dsjq_lab.world import World


class Lab(Protocol):
    world: World

    def start(self, name: str) -> None:
        """Starts the process again, as what it was."""

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
