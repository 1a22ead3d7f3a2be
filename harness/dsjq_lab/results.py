"""From verdicts to one outcome: what the scenario expects, what the run proved, how the program exits.

A verdict says what a checker saw; its standing says what that means for this scenario. "effect_once is
violated" is a failure in one scenario and the lesson of another. Unknown is never a pass.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from dsjq_lab.verdict import Verdict

FORMAT = 1


class Exit(IntEnum):
    """What the shell, a pipeline or a grader reads."""

    AS_EXPECTED = 0
    FAILED = 1  # violated what should hold, or held what the scenario says must break
    USAGE = 2
    LAB_FAILED = 3
    UNKNOWN = 4
    INTERRUPTED = 130


OUTCOMES = {"pass": Exit.AS_EXPECTED, "fail": Exit.FAILED, "unknown": Exit.UNKNOWN}


@dataclass(frozen=True)
class Ruling:
    """A verdict and its standing: its own status, or expected, tolerated, absent."""

    verdict: Verdict
    standing: str
    because: str = ""


@dataclass(frozen=True)
class Result:
    rulings: Sequence[Ruling]
    unproven: Sequence[str]  # why the run proves nothing, whatever the checkers say
    counts: Mapping[str, int]
    epsilon_s: float
    seconds: float

    @property
    def outcome(self) -> str:
        standings = {ruling.standing for ruling in self.rulings}
        if "violated" in standings:
            return "fail"
        if self.unproven or "unknown" in standings:
            return "unknown"
        return "fail" if "absent" in standings else "pass"

    @property
    def exit(self) -> Exit:
        return OUTCOMES[self.outcome]

    def standing(self, *standings: str) -> list[Ruling]:
        return [ruling for ruling in self.rulings if ruling.standing in standings]

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "outcome": self.outcome,
            "exit": int(self.exit),
            "unproven": list(self.unproven),
            "verdicts": [
                {
                    "invariant": ruling.verdict.invariant,
                    "status": ruling.verdict.status,
                    "standing": ruling.standing,
                    "summary": ruling.verdict.summary,
                    "job": ruling.verdict.job,
                    "ops": list(ruling.verdict.ops),
                }
                for ruling in self.rulings
            ],
            "counts": dict(self.counts),
            "epsilon_s": self.epsilon_s,
            "seconds": self.seconds,
        }

    def write(self, run: Path) -> None:
        (run / "results.json").write_text(json.dumps(self.as_json(), indent=2) + "\n")


def rule(verdicts: Sequence[Verdict], must: Mapping[str, str], may: Collection[str]) -> list[Ruling]:
    """Each verdict with its standing; `must` maps what has to be violated to the reason why."""
    rulings = []
    for verdict in verdicts:
        name, standing = verdict.invariant, verdict.status
        if standing == "violated" and name in must:
            standing = "expected"
        elif standing == "violated" and name in may:
            standing = "tolerated"
        elif standing in ("holds", "not applicable") and name in must:
            standing = "absent"
        rulings.append(Ruling(verdict, standing, must.get(name, "")))
    return rulings
