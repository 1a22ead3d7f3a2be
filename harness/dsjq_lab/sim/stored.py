"""An explored failure as a run folder: the same files as those of a live run, and schedule.json.

`history.jsonl` is what the clients saw in the shrunk run, so it is judged, shown and told like any other.
`schedule.json` has all that it takes to play the run again: what was taken out of the scenario, the
deviations, and the digest of the course of events, by which one sees that it was the same.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dsjq_lab import runs
from dsjq_lab.brokers import of_run
from dsjq_lab.history import read_history
from dsjq_lab.library import NotFound
from dsjq_lab.report.explain import explain
from dsjq_lab.scenario import Scenario
from dsjq_lab.sim.experiment import Experiment, Run
from dsjq_lab.sim.schedule import as_lists, from_lists
from dsjq_lab.sim.search import Failure
from dsjq_lab.sim.shrink import with_jobs
from dsjq_lab.sim.story import Step, Teller
from dsjq_lab.sim.tasks import Deviation
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import VIOLATED, Verdict

FORMAT = 1
SCHEDULE = "schedule.json"
STORY_MAX, FINDINGS_MIN = 12, 5  # lines


class Stored(NamedTuple):
    experiment: Experiment
    schedule: list[Deviation]
    digest: str
    names: tuple[str, ...]


def store(failure: Failure, run: Run, path: Path) -> Path:
    """A new run folder for the failure of the scenario in `path`; `run` is its shrunk run."""
    reduced = failure.experiment.scenario
    folder = runs.new_folder(reduced.name)
    (folder / "scenario.yaml").write_bytes(path.read_bytes())
    header = failure.experiment.header()
    lines = [header.line(), *(op.line() for op in run.world.ops)]
    (folder / "history.jsonl").write_text("".join(lines), encoding="utf-8")
    whole = failure.experiment.variation.load(path).faults
    schedule = {
        "format": FORMAT,
        "broker": failure.experiment.broker.name,
        "failures": failure.names,
        "seed": failure.seed,
        "reduced": {
            "jobs": reduced.load.jobs,
            "workers": reduced.workers.count,
            "faults": [number for number, fault in enumerate(whole) if fault in reduced.faults],
        },
        "deviations": as_lists(failure.schedule),
        "digest": failure.digest,
        "python": sys.version.split()[0],
    }
    (folder / SCHEDULE).write_text(json.dumps(schedule, indent=1) + "\n")
    logs = folder / "logs"
    logs.mkdir()
    for process in run.kernel.processes:
        with (logs / f"{process.name.replace(' ', '-')}.log").open("a", encoding="utf-8") as log:
            log.write("".join(process.output))
    return folder


def load(folder: Path) -> Stored:
    """What `store` has stored. NotFound if the folder is that of a live run."""
    try:
        fields: dict[str, Any] = json.loads((folder / SCHEDULE).read_text())
    except FileNotFoundError:
        raise NotFound(f"{folder} has no {SCHEDULE}: only an explored run can be replayed") from None
    header = read_history(folder / "history.jsonl").header
    variation = Variation.of(header)
    whole = variation.load(folder / "scenario.yaml")
    reduced = reduce(whole, **fields["reduced"])
    schedule = from_lists(fields["deviations"])
    experiment = Experiment(reduced, of_run(header), variation=variation)
    return Stored(experiment, schedule, fields["digest"], tuple(fields["failures"]))


def reduce(whole: Scenario, jobs: int, workers: int, faults: list[int]) -> Scenario:
    update = {
        "workers": whole.workers.model_copy(update={"count": workers}),
        "faults": [whole.faults[number] for number in faults],
    }
    return with_jobs(whole, jobs).model_copy(update=update)


def tell(experiment: Experiment, schedule: list[Deviation], *, full: bool = False) -> tuple[Teller, Run]:
    """Plays the schedule once more, and keeps what is to be told of it."""
    file = getattr(experiment.broker, "file", None)
    teller = Teller(schedule, experiment.loader, file and file.resolve(), full=full)
    return teller, experiment.play(teller)


def story(teller: Teller, run: Run) -> list[str]:
    """The story of a run in lines, at most a dozen unless its schedule is long; its certain findings last."""
    told = [step.line() for step in steps(teller, run)]
    return [*told, *findings(run, max(FINDINGS_MIN, STORY_MAX - len(told)))]


def steps(teller: Teller, run: Run) -> list[Step]:
    """What happened on the way to the last event that proves what is wrong."""
    if deadlock := next((op for op in run.world.ops if op.f == "deadlock"), None):
        return teller.standing(deadlock.value["threads"])
    since_ns, until_ns = 0, None
    for verdict in violations(run)[:1]:
        assert run.result
        proof = [op.time_ns for op in run.result.model.ops if op.index in verdict.ops]
        since_ns = min(proof, default=0)
        if verdict.invariant != "everything_finishes":
            until_ns = max(proof, default=None)
    return teller.between(since_ns, until_ns)


def violations(run: Run) -> list[Verdict]:
    """The gravest first."""
    if run.result is None:
        return []
    found = {ruling.verdict.invariant: ruling.verdict for ruling in run.result.with_standing(VIOLATED)}
    return [found[name] for name in run.failures if name in found]


def findings(run: Run, lines_max: int = STORY_MAX) -> Iterator[str]:
    """What is wrong, in certain terms, and what happened to the job that shows it."""
    certain = list(deaths(run))
    yield from certain
    if run.result is None:
        yield f"=> {run.failures[0]}: {run.kernel.broken}"
        return
    for verdict in violations(run)[:1]:
        also = [other.invariant for other in violations(run)[1:]]
        yield f"=> {verdict.invariant}: {verdict.summary}{'; also ' if also else ''}{', '.join(also)}"
        room = lines_max - len(certain) - 1
        yield from (f"   {line}" for line in explain(verdict, run.result.model, room))


def deaths(run: Run) -> Iterator[str]:
    """Of threads, alone or in a circle, and of brokers that were not killed."""
    alike: dict[tuple[str, str], list[str]] = {}
    for op in run.world.ops:
        if op.process == "lab" and op.f == "deadlock":
            yield "=> deadlock: " + "; ".join(op.value["circle"])
        elif op.process == "lab" and op.f == "thread_died":
            alike.setdefault((op.value["place"], op.value["problem"]), []).append(op.value["thread"])
    for (place, problem), threads in alike.items():
        others = f", and {len(threads) - 1} more," if len(threads) > 1 else ""
        yield f"=> {threads[0]}{others} died at {place}: {problem}"
    for process in run.kernel.processes:
        if process.name == "broker" and (process.status or 0) > 0:
            *_, words = "".join(process.output).splitlines() or ["nothing"]
            yield f"=> the broker ended with status {process.status}, and said: {words}"
