"""A checker holds one rule against a history, and accuses only where no correct broker could have done it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from dsjq_lab.model import Model
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED, Verdict


class Finding(NamedTuple):
    """One violation, at most one a job."""

    summary: str
    job: str | None  # None: it concerns no job in particular
    ops: tuple[int, ...]


class Checker(ABC):
    """One invariant. Subclasses give it a name, its rule in a sentence for learners, and `check`."""

    name: ClassVar[str]
    rule: ClassVar[str]

    @property
    def lab(self) -> str:
        """Where the handbook explains it."""
        return f"LAB.md#{self.name}"

    @abstractmethod
    def check(self, model: Model) -> Verdict: ...

    def judged(self, findings: Sequence[Finding], otherwise: str) -> Verdict:
        """Violated if anything was found, and told by the first finding; else it holds, in these words."""
        if not findings:
            return Verdict(self.name, HOLDS, otherwise)
        first = findings[0]
        return Verdict(self.name, VIOLATED, first.summary, first.job, first.ops, len(findings))

    def unknown(self, why: str) -> Verdict:
        return Verdict(self.name, UNKNOWN, why)

    def not_applicable(self, why: str) -> Verdict:
        return Verdict(self.name, NOT_APPLICABLE, why)


def some(count: int, thing: str, things: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {thing if count == 1 else things or thing + 's'}"
