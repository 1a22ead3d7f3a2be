"""What a submission has earned: one form, from which every format for others is made (formats.py).

A check that needs a person, or that was not judged, is neither earned nor lost: its points are told apart.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

FORMAT = 1
PASSED, FAILED, NEEDS_A_PERSON, NOT_JUDGED = "passed", "failed", "needs a person", "not judged"


class Mark(NamedTuple):
    """One check of a submission."""

    name: str
    points: int
    verdict: str
    evidence: str = ""  # what was seen, for the student
    explain: str = ""  # what is missing, if it failed
    runs: tuple[str, ...] = ()  # folders of its runs
    hidden: bool = False
    seconds: float = 0.0

    @property
    def earned(self) -> int:
        return self.points if self.verdict == PASSED else 0

    @property
    def is_decided(self) -> bool:
        return self.verdict in (PASSED, FAILED)

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "earned": self.earned if self.is_decided else None}

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> "Mark":
        known = {name: fields[name] for name in cls._fields}
        return cls(**{**known, "runs": tuple(known["runs"])})


class Explanation(NamedTuple):
    """What the student wrote for a person to read."""

    text: str
    remark: str = ""  # why there is none, or not all of it

    def line(self) -> str:
        return self.remark or "to be read"


class Report(NamedTuple):
    exercise: str
    title: str
    marks: list[Mark]
    notes: tuple[str, ...] = ()  # what whoever reads the score should know: of isolation, of moved points
    grader_error: str = ""  # why the grader itself did not finish; then there is no score
    explanation: Explanation | None = None  # None: none is asked for

    @property
    def total(self) -> int:
        return sum(mark.earned for mark in self.marks)

    @property
    def of(self) -> int:
        return sum(mark.points for mark in self.marks)

    @property
    def undecided(self) -> int:
        """The points on which there is no verdict."""
        return sum(mark.points for mark in self.marks if not mark.is_decided)

    @property
    def score(self) -> int | None:
        """None: there is none, or not yet."""
        return None if self.grader_error or self.undecided else self.total

    def line(self) -> str:
        if self.grader_error:
            return f"no score: {self.grader_error.splitlines()[0]}"
        undecided = f", {self.undecided} not decided" if self.undecided else ""
        return f"{self.total} of {self.of} points{undecided}"

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "exercise": self.exercise,
            "title": self.title,
            "score": self.score,
            "total": self.total,
            "of": self.of,
            "undecided": self.undecided,
            "checks": [mark.as_json() for mark in self.marks],
            "notes": list(self.notes),
            "grader_error": self.grader_error,
            "explanation": self.explanation and self.explanation._asdict(),
        }

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> "Report":
        marks = [Mark.of_json(check) for check in fields["checks"]]
        notes = tuple(fields["notes"])
        wrote = fields.get("explanation")
        explanation = Explanation(**wrote) if wrote else None
        return cls(fields["exercise"], fields["title"], marks, notes, fields["grader_error"], explanation)


def lines(mark: Mark) -> Iterable[str]:
    """A check, for people: the verdict, and all that helps if it did not pass."""
    verdict = mark.verdict.upper() if mark.verdict == FAILED else mark.verdict
    points = f"{mark.earned if mark.is_decided else '?'} of {mark.points}"
    yield f"  {verdict:<15} {points:<8} {mark.name}{' (hidden)' if mark.hidden else ''}"
    if mark.verdict == PASSED:
        return
    if mark.explain and mark.verdict == FAILED:
        yield "    What is missing"
        yield from (f"      {line}" for line in mark.explain.strip().splitlines())
    if mark.evidence:
        yield "    What was seen"
    yield from (f"      {line}" for line in mark.evidence.splitlines())
    yield from (f"    Run  {run}" for run in mark.runs)
