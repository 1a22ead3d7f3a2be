"""How good is the lab? Brokers with one planted bug each are its patients; the reference is in good health.

A patient is *caught* by a run in which an invariant of its row in zoo/answers.yaml is violated; that another
one is, is not enough. It has *escaped* if no run caught it in any of the worlds that were asked: most bugs
are races, and one run proves nothing for them. What the reference is accused of in the same scenarios is a
*false alarm*, and one is too many.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dsjq_lab import library, scenario
from dsjq_lab.errors import LabError, UsageError
from dsjq_lab.logbook import Found, Logbook
from dsjq_lab.repeat import Play

INTERLEAVINGS = 1000  # of a patient, explored; it ends with the first that fails
REFERENCE = "dsjq"
OPTIONS = "--port {port} --ack-timeout {ack_timeout}s --max-attempts {max_attempts}"
Answer = dict[str, Any]


class Row(NamedTuple):
    """What became of one broker in one scenario of one world."""

    broker: str
    scenario: str
    world: str
    expected: list[str]  # any of these; none for the reference
    found: dict[str, int]  # what was violated -> in how many runs
    runs: int
    caught: int  # runs in which it was the right thing; for the reference, in which it was anything
    runs_to_detection: int | None
    seconds_to_detection: float | None
    complaint: str = ""  # why runs, or all of this, have no verdict

    def line(self) -> str:
        detection = ""
        if self.runs_to_detection is not None:
            detection = f"run {self.runs_to_detection}, {self.seconds_to_detection:.1f} s"
        found = ", ".join(self.found) or "nothing"
        what = f"{self.broker:<6} {self.world:<9} {self.scenario:<18} {self.caught:>4} of {self.runs:<5}"
        return f"{what} {detection:<18} {found}  {self.complaint}".rstrip()


def answers() -> dict[str, Answer]:
    """By patient: the file for instructors, beside the patients."""
    beside = next(iter(library.contents("zoo").values())).parent / "answers.yaml"
    known: dict[str, Answer] = yaml.safe_load(beside.read_text())
    return known


def visit(
    patients: Sequence[str], world: str, runs: int, jobs: int, black_box: bool = False,
    book: Path | None = None,
) -> Iterator[Row]:
    """The patients, all if none is named; then the reference, in their scenarios, but as no black box: that
    is a matter of what may be asked of a broker, not of the broker. The world: live, explored or both.
    What is in the logbook already is neither played nor explored again.
    """
    known = answers()
    for name in patients:
        if name not in known:
            raise UsageError(f"no such patient: {name}{library.did_you_mean(name, known)}")
    chosen = {name: known[name] for name in patients or known if not black_box or "black_box" in known[name]}
    scenarios = dict.fromkeys(answer["run"] for answer in chosen.values())
    healthy: list[tuple[str, Answer]] = [(REFERENCE, {"run": name, "caught_by": []}) for name in scenarios]
    logbook = Logbook(book)
    for name, answer in [*chosen.items(), *([] if black_box else healthy)]:
        if world in ("live", "both"):
            yield _live(name, answer, runs, jobs, black_box, logbook)
        if world in ("explored", "both"):
            yield _explored(name, answer, jobs, logbook)


def _live(name: str, answer: Answer, runs: int, jobs: int, black_box: bool, logbook: Logbook) -> Row:
    right = set(answer["black_box" if black_box else "caught_by"])
    words = ["run", answer["run"], *_broker(name, black_box, answer)]
    words += [word for change in changes(answer, black_box) for word in ("--set", change)]
    plays = [Play(tuple(words), seed) for seed in range(1, runs + 1)]
    series = sorted((run for _, run in logbook.played(plays, jobs)), key=lambda run: run.seed)
    hits = [bool(right & set(run.wrong) if right else run.wrong) for run in series]
    first = hits.index(True) if any(hits) else None
    seconds = None if first is None else sum(run.seconds for run in series[: first + 1])
    found = Counter(name for run in series for name in run.wrong)
    complaints = dict.fromkeys(run.complaint.partition("\n")[0] for run in series if not run.wrong)
    return Row(
        name, answer["run"], "live", answer["caught_by"], dict(found.most_common()), runs, sum(hits),
        None if first is None else first + 1, seconds, "; ".join(filter(None, complaints)),
    )  # fmt: skip


def changes(answer: Answer, black_box: bool = False) -> list[str]:
    """Of its scenario, as by --set."""
    return [*answer.get("set", []), *(answer.get("black_box_set", []) if black_box else [])]


def _broker(name: str, black_box: bool, answer: Answer) -> list[str]:
    if name == REFERENCE:
        return []
    file = library.find("zoo", name)
    if not black_box:
        return ["--broker", str(file)]
    played = scenario.load(library.find("scenarios", answer["run"]), changes(answer, black_box))
    folder = "" if played.broker.store == "memory" else " --data {data}"
    return ["--broker-cmd", f"{sys.executable} {file} {OPTIONS}{folder}"]


def _explored(name: str, answer: Answer, jobs: int, logbook: Logbook) -> Row:
    story, right = answer["run"], set(answer["caught_by"])
    nothing = Row(name, story, "explored", answer["caught_by"], {}, 0, 0, None, None)
    words = ["explore", story, *_broker(name, False, answer), "--runs", f"{INTERLEAVINGS}"]
    words += [word for change in changes(answer) for word in ("--set", change)]

    def explore() -> Found:
        command = [sys.executable, "-m", "dsjq_lab", *words, "--jobs", f"{jobs}", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 1, 4):
            raise LabError(f"{name} cannot be explored in {story}:\n{done.stderr}")
        told: Found = json.loads(done.stdout)
        return told

    result = logbook.explored(tuple(words), explore)
    failures = [set(failure["names"]) for failure in result["failures"]]
    caught = sum(bool(right & failure if right else failure) for failure in failures)
    found = Counter(name for failure in failures for name in failure)
    return nothing._replace(
        found=dict(found.most_common()), runs=result["runs"], caught=caught,
        runs_to_detection=result["runs"] if caught else None,
        seconds_to_detection=result["seconds"] if caught else None,
        complaint=f"not explored: {result['refused']}" if result["refused"] else "",
    )  # fmt: skip


def escaped(rows: Iterable[Row]) -> list[str]:
    """The patients that nobody caught."""
    caught = Counter[str]()
    for row in rows:
        if row.broker != REFERENCE:
            caught[row.broker] += row.caught
    return [name for name, count in caught.items() if not count]


def false_alarms(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.broker == REFERENCE and row.caught]


def summary(rows: Sequence[Row]) -> Iterator[str]:
    healthy = [row for row in rows if row.broker == REFERENCE]
    patients = dict.fromkeys(row.broker for row in rows if row.broker != REFERENCE)
    lost = escaped(rows)
    yield f"Patients    {len(patients)} = {len(patients) - len(lost)} caught + {len(lost)} escaped"
    yield from (f"  escaped   {name}" for name in lost)
    if healthy:
        alarms = sum(row.caught for row in healthy)
        yield f"Reference   {alarms} false alarms in {sum(row.runs for row in healthy)} runs"


def exit_code(rows: Sequence[Row]) -> int:
    return int(bool(escaped(rows) or false_alarms(rows)))


def as_json(rows: Sequence[Row]) -> str:
    told = [row._asdict() for row in rows]
    alarms = sum(row.caught for row in false_alarms(rows))
    return json.dumps({"rows": told, "escaped": escaped(rows), "false_alarms": alarms}, indent=2)
