"""One story, several brokers: the same load and faults, the same judge, and one table of what each kept.

Each broker plays by itself, one after the other, so that none has the machine's ear more than the next.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from dsjq_lab import brokers, results, runs
from dsjq_lab.errors import LabError
from dsjq_lab.repeat import WORST_FIRST
from dsjq_lab.results import Result
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import NOT_APPLICABLE

CELLS = {"not applicable": "n/a", "violated": "VIOLATED", "absent": "absent"}
NOTABLE = ("violated", "expected", "tolerated", "absent")
NO_VERDICT = 3


class Column(NamedTuple):
    """What became of one broker."""

    broker: str
    result: Result | None
    folder: str
    complaint: str  # why there is no result

    @property
    def exit_code(self) -> int:
        return self.result.exit_code if self.result else NO_VERDICT

    def as_json(self) -> dict[str, Any]:
        judged = self.result.as_json() if self.result else {"exit_code": NO_VERDICT}
        return {**judged, "broker": self.broker, "run": self.folder, "complaint": self.complaint}


def compare(scenario: Path, names: Iterable[str], variation: Variation) -> list[Column]:
    """Plays the scenario with each of the brokers. Raises ScenarioErrors and UsageError."""
    return [_played(scenario, name, variation) for name in names]


def _played(scenario: Path, name: str, variation: Variation) -> Column:
    print(f"{scenario.stem}: {name} …", file=sys.stderr, flush=True)
    try:
        folder = runs.play(scenario, broker=brokers.under_study(name, None), variation=variation)
        return Column(name, results.judged(folder), str(folder), "")
    except LabError as failure:
        return Column(name, None, "", str(failure))


def exit_code(columns: Iterable[Column]) -> int:
    """Of many the worst counts (repeat.py)."""
    codes = {column.exit_code for column in columns}
    return next(code for code in WORST_FIRST if code in codes)


def table(columns: list[Column]) -> Iterable[str]:
    """Invariant by broker, without those that apply to none; then what was seen of each that is violated."""
    width = max(len(column.broker) for column in columns) + 2
    judged = [column for column in columns if column.result]
    yield "".ljust(30) + "".join(column.broker.ljust(width) for column in judged).rstrip()
    rulings = [column.result.rulings for column in judged if column.result]
    for row in zip(*rulings, strict=True):
        if any(ruling.verdict.status != NOT_APPLICABLE for ruling in row):
            cells = [CELLS.get(ruling.standing, ruling.standing) for ruling in row]
            yield row[0].verdict.invariant.ljust(30) + "".join(cell.ljust(width) for cell in cells).rstrip()
    outcomes = [column.result.outcome.upper() for column in judged if column.result]
    yield "".ljust(30) + "".join(outcome.ljust(width) for outcome in outcomes).rstrip()
    for column in columns:
        yield from ("", f"{column.broker}  {column.folder}")
        yield from (f"  {line}" for line in _evidence(column))


def _evidence(column: Column) -> Iterable[str]:
    if column.result is None:
        yield from column.complaint.splitlines()
        return
    yield from (f"unknown: {why}" for why in column.result.unproven)
    for verdict, standing, because in column.result.with_standing(*NOTABLE):
        yield f"{CELLS.get(standing, standing):<10} {verdict.invariant}: {verdict.summary}"
        if because:
            yield f"{'':<10} {' '.join(because.split())}"


def as_json(columns: list[Column]) -> str:
    return json.dumps({"brokers": [column.as_json() for column in columns]}, indent=2)
