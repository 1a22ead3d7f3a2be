"""From a failing run to what makes it fail: fewer jobs, fewer workers, fewer faults, fewer deviations.

What failed by chance alone (of a disk, of a network) is reduced to those chances at once. Otherwise small
scenarios are tried first: by themselves, then with a single interruption, then with a few, since most races
need no more (Musuvathi and Qadeer, 2007), and such a run has a short story from the start. Then the same
under every kind of interruption. If none of them fails, the run that failed is reduced. Each candidate is
played, and kept if it still fails in the same way: the scenario first, since smaller runs are faster; then
the schedule, by delta debugging (Zeller and Hildebrandt, 2002): take out half of it, then quarters, and so on
down to single deviations, until none can be spared.
"""

import time
from collections.abc import Iterator, Sequence

from dsjq_lab.scenario import Scenario
from dsjq_lab.sim.countdown import FOREVER
from dsjq_lab.sim.experiment import Experiment, Run
from dsjq_lab.sim.schedule import Strategy
from dsjq_lab.sim.story import path_of, place
from dsjq_lab.sim.strategies import Few, mix
from dsjq_lab.sim.tasks import Deviation, Task

KINDS = ("draw", "late", "stall")  # not needed as often as not, so tried away together
SHORT = 50  # deviations that are reduced as they are
SMALL_JOBS, SMALL_RUNS = (1, 3, 8), 20  # for a new and shorter story: sizes, and runs of each
PAUSE_NS = 10_000_000  # of one thread: what a client does meanwhile is done, and no lease is over
JOBS, WORKERS = (1, 2, 3, 5, 8, 13, 20), (1, 2, 3)


class Shrinker:
    """`run` of `experiment` is the smallest so far that fails with `failure`."""

    def __init__(self, experiment: Experiment, run: Run, seconds_max: float = 40.0) -> None:
        self.experiment, self.run, self.failure = experiment, run, run.failures[0]
        self.schedule = run.schedule
        self.deadline_s = time.process_time() + seconds_max  # of computing: others may be at work here
        self.tries = 0

    def shrink(self) -> None:
        self.keep([])
        self.keep([deviation for deviation in self.schedule if deviation.kind == "draw"])
        if len(self.schedule) > SHORT and not self.keep_small():
            self.reduce_scenario()
            for kind in KINDS:
                self.keep([deviation for deviation in self.schedule if deviation.kind != kind])
        self.reduce_until_stuck()

    def keep_small(self) -> bool:
        """Whether a small scenario fails in the same way: once interrupted, or a few times, or anyhow.

        What failed in several ways may be told by any of them, if none shows the first.
        """
        ways = self.run.failures
        for search in (self.once_interrupted, self.a_few_times_interrupted, self.anyhow_interrupted):
            for scenario in self.small_scenarios():
                experiment = self.experiment.varied(scenario)
                alike = self.failing_alike(search(experiment))
                if found := next((way for way in ways if way in alike), None):
                    self.experiment, self.run, self.failure = experiment, alike[found], found
                    self.schedule = self.run.schedule
                    return True
        return False

    def failing_alike(self, runs: Iterator[Run]) -> dict[str, Run]:
        """What failed in these, or until one failed as it should; each with the first run that did."""
        failing: dict[str, Run] = {}
        for run in runs:
            self.tries += 1
            for name in run.failures:
                failing.setdefault(name, run)
            if self.failure in failing or self.is_late():
                break
        return failing

    def once_interrupted(self, experiment: Experiment) -> Iterator[Run]:
        scout = Scout(experiment)
        yield experiment.play(scout)
        for deviation in dict.fromkeys(scout.promising()):
            yield experiment.replay([deviation])

    def a_few_times_interrupted(self, experiment: Experiment) -> Iterator[Run]:
        points = experiment.replay([]).kernel.steps
        for seed in range(SMALL_RUNS):
            yield experiment.play(Few(seed, bound=1 + seed % 8, points=points))

    def anyhow_interrupted(self, experiment: Experiment) -> Iterator[Run]:
        points = experiment.replay([]).kernel.steps
        for seed in range(SMALL_RUNS):
            yield experiment.play(mix(seed, points))

    def small_scenarios(self) -> Iterator[Scenario]:
        scenario = self.experiment.scenario
        for jobs in dict.fromkeys(min(jobs, scenario.load.jobs) for jobs in SMALL_JOBS):
            small = with_jobs(scenario, jobs)
            yield small.model_copy(update={"faults": []})
            if scenario.faults:
                yield small

    def reduce_until_stuck(self) -> None:
        before = -1
        while len(self.schedule) != before and not self.is_late():
            before = len(self.schedule)
            self.reduce_schedule()
            self.reduce_scenario()

    def is_late(self) -> bool:
        return time.process_time() > self.deadline_s

    def keep(self, schedule: Sequence[Deviation], scenario: Scenario | None = None) -> bool:
        """Plays it, and keeps it if it fails in the same way."""
        if scenario is None and len(schedule) == len(self.schedule):
            return False
        self.tries += 1
        experiment = self.experiment.varied(scenario) if scenario else self.experiment
        run = experiment.replay(schedule)
        if self.failure not in run.failures:
            return False
        # What the run noted is its schedule without the deviations that it never came by.
        self.experiment, self.run, self.schedule = experiment, run, run.schedule
        return True

    def reduce_scenario(self) -> None:
        for candidates in (self.fewer_jobs, self.fewer_workers, self.fewer_faults):
            for scenario in candidates():
                if self.is_late() or self.keep(self.schedule, scenario):
                    break

    def fewer_jobs(self) -> Iterator[Scenario]:
        scenario = self.experiment.scenario
        for jobs in JOBS:
            if jobs < scenario.load.jobs:
                yield with_jobs(scenario, jobs)

    def fewer_workers(self) -> Iterator[Scenario]:
        scenario = self.experiment.scenario
        for count in WORKERS:
            if count < scenario.workers.count:
                workers = scenario.workers.model_copy(update={"count": count})
                yield scenario.model_copy(update={"workers": workers})

    def fewer_faults(self) -> Iterator[Scenario]:
        scenario = self.experiment.scenario
        faults = scenario.faults
        if faults:
            yield scenario.model_copy(update={"faults": []})
        if len(faults) > 1:
            for number in range(len(faults)):
                yield scenario.model_copy(update={"faults": [*faults[:number], *faults[number + 1 :]]})

    def reduce_schedule(self) -> None:
        size = len(self.schedule)
        while size and not self.is_late():
            reduced = self.without_pieces(size)
            size = min(size, len(self.schedule)) if reduced and size > 1 else size // 2

    def without_pieces(self, size: int) -> bool:
        """Tries each piece of the schedule away; whether one could be spared."""
        reduced, start = False, 0
        while start < len(self.schedule) and not self.is_late():
            if self.keep(self.schedule[:start] + self.schedule[start + size :]):
                reduced = True
            else:
                start += size
        return reduced


def with_jobs(scenario: Scenario, jobs: int) -> Scenario:
    producers = min(jobs, scenario.load.producers)
    load = scenario.load.model_copy(update={"jobs": jobs, "producers": producers})
    return scenario.model_copy(update={"load": load})


class Scout(Strategy):
    """Plays the default schedule, and notes when a thread passes which line of the broker's own file."""

    by_task = True

    def __init__(self, experiment: Experiment) -> None:
        file = getattr(experiment.broker, "file", None)
        self.loader, self.file = experiment.loader, file and file.resolve()
        self.found: dict[int, list[Deviation]] = {}  # by line: a pause there

    def steps(self, task: Task) -> int:
        return 1 if task.process is not None and task.process.name == "broker" else FOREVER

    def at_point(self, task: Task) -> Task:
        frame = place(self.loader)
        if frame and path_of(frame) == self.file:
            pause = Deviation(task.name, task.count, "stall", PAUSE_NS)
            self.found.setdefault(frame.f_lineno, []).append(pause)
        return task

    def promising(self) -> Iterator[Deviation]:
        """The first time at each line, then the last, then one in the middle."""
        for which in (lambda count: 0, lambda count: count - 1, lambda count: count // 2):
            yield from (times[which(len(times))] for times in self.found.values())
