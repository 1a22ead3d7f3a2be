"""The process in which is explored: student code runs here, so the lab looks on from outside (explore.py).

It has an interpreter of its own, with a fixed PYTHONHASHSEED, since the order of a set of strings must not
change from run to run; it is pinned to one processor; and whoever started it kills it when it is silent for
too long. It says what it does in lines of JSON on its standard output.

Where a stranger's code is graded, it begins as the grader and reads all that it will need, the scenario
included, which may be a hidden one. Then it becomes the submission, and only then loads it.

Started as `python -m dsjq_lab.sim.child '{"scenario": …}'`.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from dsjq_lab.brokers import under_study
from dsjq_lab.confine import EXPLORED_AS, become
from dsjq_lab.errors import LabError
from dsjq_lab.sim import stored
from dsjq_lab.sim.exhaustive import exhaust
from dsjq_lab.sim.experiment import Experiment
from dsjq_lab.sim.library import read_ahead
from dsjq_lab.sim.search import Failure, NotDeterministic, Search
from dsjq_lab.sim.stacks import pinned
from dsjq_lab.sim.tasks import SimError
from dsjq_lab.sim.world import CLIENT
from dsjq_lab.variation import Variation

PROGRESS_INTERVAL_S = 0.5
SHRINK_S, SHRINK_S_GRADED = 40.0, 10.0  # a grade has a deadline, and its verdict waits for the story


def say(**news: Any) -> None:
    print(json.dumps(news), flush=True)


def main(task: dict[str, Any]) -> None:
    pinned(task["number"])
    gc.disable()  # lest a finalizer runs at a moment that no schedule knows; Experiment collects between runs
    path = Path(task["scenario"])
    broker = under_study(task["broker"], task["broker_cmd"])
    variation = Variation(tuple(task["set"]), task["without_faults"], task["time_scale"])
    experiment = Experiment(variation.load(path), broker, variation=variation)
    confined = os.environ.get(EXPLORED_AS)
    if confined:
        read_ahead([CLIENT])
        become(**json.loads(confined))
    search = Search(
        experiment, task["strategy"], task["seed"], task["number"], task["of"], wanted=task["wanted"]
    )
    if task["bound"] is not None:
        search.play_in_turn(exhaust(experiment.play, "broker", task["bound"]))
    try:
        if task["number"] == 0:
            say(kind="warnings", texts=experiment.warnings())
        explore(search, task, None if confined else path)
    except NotDeterministic as problem:
        say(kind="refused", why=f"the program does not repeat its own runs: {problem}")
    except SimError as problem:
        say(kind="refused", why=str(problem))
    except LabError as problem:
        say(kind="broken", why=str(problem))


def explore(search: Search, task: dict[str, Any], path: Path | None) -> None:
    """Says what it finds. Failures are stored if the file of the scenario may still be read."""
    started, told_s = time.monotonic(), 0.0
    more = task["keep_going"]
    while search.runs < task["runs"] and time.monotonic() - started < task["seconds"]:
        try:
            seed, run = search.next_run()
        except StopIteration:
            say(kind="complete", bound=task["bound"])
            break
        if time.monotonic() - told_s > PROGRESS_INTERVAL_S:
            told_s = time.monotonic()
            tell(search)
        if run.failures and not task["count"] and (more or search.failing == 1):
            say(kind="found", seed=seed, names=run.failures, nth_run=search.runs)
            tell(search)
            failure = search.examined(seed, run, SHRINK_S if path else SHRINK_S_GRADED)
            say(kind="failure", **told(failure, path))
            if not more:
                break
    tell(search)


def tell(search: Search) -> None:
    counts = {"runs": search.runs, "failing": search.failing, "unknown": search.unknown}
    places = search.experiment.loader.points
    interrupted = len(places & search.interrupted_at)
    say(kind="progress", distinct=len(search.courses), places=len(places), interrupted=interrupted, **counts)


def told(failure: Failure, path: Path | None) -> dict[str, Any]:
    """Stores the failure as a run of its own, and returns what is to be said of it."""
    experiment = failure.experiment
    teller, run = stored.tell(experiment, failure.schedule)
    place = {"folder": str(stored.store(failure, run, path))} if path else {}
    return {
        **place, "seed": failure.seed, "names": failure.names, "nth_run": failure.nth_run,
        "before": failure.deviations, "after": len(failure.schedule), "tries": failure.tries,
        "jobs": experiment.scenario.load.jobs, "workers": experiment.scenario.workers.count,
        "faults": len(experiment.scenario.faults), "story": stored.story(teller, run),
    }  # fmt: skip


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
