"""From verdicts to one outcome: what the scenario expects, what the run proved, how the program exits.

A verdict says what a checker saw; its standing says what that means for this scenario: the same violation
is a failure in one and the lesson of another. Unknown is never a pass.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dsjq_lab.checkers import judge
from dsjq_lab.history import Header, read_history
from dsjq_lab.model import Model
from dsjq_lab.vacuity import unproven
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import UNKNOWN, VIOLATED, Verdict

if TYPE_CHECKING:
    from dsjq_lab.scenario import Expectation, Scenario

FORMAT = 1
FOLDERLESS = "the broker was given no folder for its jobs: write {data} into its command"
EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 4}


class Ruling(NamedTuple):
    """A verdict and its standing: its own status, or `expected`, `tolerated`, `absent`."""

    verdict: Verdict
    standing: str
    because: str = ""


class Result(NamedTuple):
    """A judged run."""

    scenario: "Scenario"
    model: Model
    rulings: list[Ruling]
    unproven: list[str]  # why the run proves nothing, whatever the checkers say

    @property
    def outcome(self) -> str:
        standings = {ruling.standing for ruling in self.rulings}
        if VIOLATED in standings:
            return "fail"
        if self.unproven or UNKNOWN in standings:
            return "unknown"
        return "fail" if "absent" in standings else "pass"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    @property
    def seconds(self) -> float:
        start_ns = self.model.header.start_ns
        return (max((op.time_ns for op in self.model.ops), default=start_ns) - start_ns) / 1e9

    def with_standing(self, *standings: str) -> list[Ruling]:
        return [ruling for ruling in self.rulings if ruling.standing in standings]

    @property
    def in_focus(self) -> list[Ruling]:
        """Those that the scenario is about come first, in its order."""
        rank: dict[str, int] = {name: place for place, name in enumerate(self.scenario.focus)}
        return sorted(self.rulings, key=lambda ruling: rank.get(ruling.verdict.invariant, len(rank)))

    def as_json(self) -> dict[str, Any]:
        header, end = self.model.header, self.model.end
        return {
            "format": FORMAT,
            "scenario": header.scenario,
            "broker": header.broker,
            "seed": header.seed,
            "options": header.options,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "unproven": self.unproven,
            "verdicts": [
                {**verdict._asdict(), "standing": standing, "because": because}
                for verdict, standing, because in self.rulings
            ],
            "counts": self.model.counts(),
            "epsilon_s": end.epsilon_ns / 1e9 if end else None,
            "seconds": self.seconds,
        }


def judged(run: Path) -> Result:
    """Judges the history in a run folder, and keeps the results beside it."""
    model = Model(read_history(run / "history.jsonl"))
    played = Variation.of(model.header).load(run / "scenario.yaml")
    rulings = rule(judge(model), deviations(played.expect, model.header))
    result = Result(played, model, rulings, doubts(played, model, rulings))
    (run / "results.json").write_text(json.dumps(result.as_json(), indent=2) + "\n")
    return result


def doubts(played: "Scenario", model: Model, rulings: Sequence[Ruling]) -> list[str]:
    """Why the run proves nothing: also that the broker was not what the scenario is about.

    A broker that is gone for good never comes to rest; but the scenario may say that it does well to refuse.
    """
    foreseen = {ruling.verdict.invariant for ruling in rulings
                if ruling.verdict.status == VIOLATED and ruling.standing != VIOLATED}  # fmt: skip
    has_lost = not model.header.durable and "no_lost_job" in foreseen
    reasons = unproven(model, may_be_gone="everything_finishes" in foreseen, has_lost=has_lost)
    if played.broker.store != "memory" and not model.header.durable:
        return [FOLDERLESS, *reasons]
    return reasons


def deviations(expect: "Sequence[Expectation]", header: Header) -> "list[Expectation]":
    """Those that speak most closely of this broker: by its name, else of its kind, else of all; and among
    these of what it keeps its jobs in.
    """
    closeness = [_closeness(deviation, header) for deviation in expect]
    closest = max(filter(None, closeness), default=None)
    return [expect[i] for i, close in enumerate(closeness) if close and close == closest]


def _closeness(deviation: "Expectation", header: Header) -> tuple[int, bool] | None:
    """The larger, the closer; None: it speaks of others."""
    if not (given := deviation.given):
        return 0, False
    called = [[], ["core"] * header.options.get("core", False), [header.broker, Path(header.broker).stem]]
    by = [] if given.broker is None else given.broker
    how = next((how for how in (2, 1) if set(called[how]).intersection(by)), 0)
    if (by and not how) or given.durable not in (None, header.durable):
        return None
    return how, given.durable is not None


def rule(verdicts: Sequence[Verdict], expect: "Sequence[Expectation]") -> list[Ruling]:
    must: dict[str, str] = {name: deviation.because for deviation in expect for name in deviation.violated}
    may: dict[str, str] = {name: deviation.because for deviation in expect for name in deviation.may_violate}
    rulings = []
    for verdict in verdicts:
        name, standing = verdict.invariant, verdict.status
        if standing == VIOLATED and name in must:
            standing = "expected"
        elif standing in (VIOLATED, UNKNOWN) and name in may:
            standing = "tolerated"
        elif standing not in (VIOLATED, UNKNOWN) and name in must:
            standing = "absent"
        rulings.append(Ruling(verdict, standing, must.get(name) or may.get(name, "")))
    return rulings
