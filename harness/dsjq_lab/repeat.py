"""Many runs, most often of one scenario, each with the next seed: how often red, and with which invariant.

Each run is a lab of its own, started as from the shell and watched like any other child, so nothing of one
can leak into the next, several may run side by side, and none survives this one.
"""

import itertools
import json
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dsjq_lab.processes import Process, Processes
from dsjq_lab.verdict import VIOLATED

# One violation is proof, whatever became of the other runs; a lab that failed leaves the series incomplete,
# which is worse than a run that proves nothing.
WORST_FIRST = (1, 3, 4, 0)
OUTCOMES = {0: "pass", 1: "fail", 3: "no verdict", 4: "unknown"}


class Play(NamedTuple):
    """A run to come: `dsjq-lab WORDS`, with this seed."""

    words: tuple[str, ...]
    seed: int


class Run(NamedTuple):
    seed: int
    exit_code: int
    wrong: list[str]  # invariants violated that should hold; "… absent" if it is the other way round
    seconds: float
    folder: str
    complaint: str  # why there is no verdict

    @property
    def outcome(self) -> str:
        return OUTCOMES[self.exit_code]

    def line(self) -> str:
        what = ", ".join(self.wrong) or self.complaint.partition("\n")[0]
        return f"seed {self.seed:<8} {self.outcome.upper():<11} {self.seconds:6.1f} s  {what}".rstrip()


class Series(NamedTuple):
    runs: list[Run]

    @property
    def exit_code(self) -> int:
        return next(code for code in WORST_FIRST if any(run.exit_code == code for run in self.runs))

    @property
    def outcomes(self) -> dict[str, int]:
        return dict(Counter(run.outcome for run in self.runs).most_common())

    @property
    def wrong(self) -> dict[str, int]:
        return dict(Counter(name for run in self.runs for name in run.wrong).most_common())

    def as_json(self) -> dict[str, Any]:
        runs = [{"outcome": run.outcome, **run._asdict()} for run in self.runs]
        totals = {"outcomes": self.outcomes, "wrong": self.wrong, "exit_code": self.exit_code}
        return {"runs": runs, **totals}

    def table(self) -> Iterator[str]:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        yield f"Runs       {len(self.runs)} = {counts}     exit {self.exit_code}"
        for name, count in self.wrong.items():
            yield f"  {count:>5} x  {name}"
        red = [run for run in self.runs if run.exit_code]
        for run in sorted(red, key=lambda run: run.seed):
            first, *more = (run.folder or run.complaint).splitlines()
            yield from (f"  seed {run.seed:<8} {first}", *(f"    {line}" for line in more))


def played(plays: Iterable[Play], jobs: int) -> Iterator[tuple[Play, Run]]:
    """Plays them, at most `jobs` at a time; tells of each as it ends."""
    with tempfile.TemporaryDirectory() as scratch, Processes(Path(scratch)) as labs:
        waiting, running = deque(plays), dict[Process, Play]()
        numbers = itertools.count(1)
        while waiting or running:
            while waiting and len(running) < jobs:
                play = waiting.popleft()
                # Of an option that is given twice, the last counts.
                once = [*play.words, "--repeat", "1", "--seed", str(play.seed), "--json"]
                lab = labs.spawn(f"run {next(numbers)}", [sys.executable, "-m", "dsjq_lab", *once])
                running[lab] = play
            for lab in labs.receive():
                play = running.pop(lab)
                yield play, read(play.seed, lab)


def read(seed: int, lab: Process) -> Run:
    said = lab.log.read_text(errors="replace")
    if lab.exit_status not in (0, 1, 4):
        return Run(seed, 3, [], 0.0, "", said.strip())
    result = json.loads(said)
    standings = [(verdict["invariant"], verdict["standing"]) for verdict in result["verdicts"]]
    wrong = [name for name, standing in standings if standing == VIOLATED]
    wrong += [f"{name} absent" for name, standing in standings if standing == "absent"]
    return Run(seed, lab.exit_status, wrong, result["seconds"], result["run"], "; ".join(result["unproven"]))
