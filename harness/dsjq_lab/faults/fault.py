"""What a fault is, and what it may use."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from dsjq_lab.world import Signal


class Lab(Protocol):
    def signal(self, name: str, what: Signal) -> bool:
        """Whether it was seen to have taken effect; that of a "term" is the exit, later."""

    def start(self, name: str) -> None:
        """Starts the process again, as what it was."""


class Fault(ABC):
    ends_process: ClassVar[bool]  # then it has struck when the victim's exit is seen

    @abstractmethod
    def strike(self, lab: Lab, victim: str) -> bool:
        """Begins it. False if it did not bite."""

    @abstractmethod
    def heal(self, lab: Lab, victim: str) -> None:
        """Ends it."""
