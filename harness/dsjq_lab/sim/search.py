"""The search for a failing run: one seed after another, until one fails or the time is over.

The first run is the default one, which also tells how many points a run has. A failure counts only if it
repeats: the run is played again from its schedule, and must be the same to the byte.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dsjq_lab.sim.experiment import Experiment, Run
from dsjq_lab.sim.library import SimUnsupported
from dsjq_lab.sim.shrink import Shrinker
from dsjq_lab.sim.strategies import STRATEGIES, Default, Seeded
from dsjq_lab.sim.tasks import Deviation, Place


class Failure(NamedTuple):
    """A run that failed, and the smallest that fails in the same way."""

    seed: int
    names: tuple[str, ...]  # of what went wrong, the gravest first
    nth_run: int
    deviations: int  # before it was shrunk
    tries: int
    experiment: Experiment  # the reduced one
    schedule: list[Deviation]
    digest: str


class NotDeterministic(Exception):
    """The same schedule took another course: something in the program depends on what the lab cannot see."""


class Search:
    """`number` of `of` searchers, who share the seeds. Only failures that are `wanted` count, if any are."""

    def __init__(
        self,
        experiment: Experiment,
        strategy: str = "mix",
        seed: int = 0,
        number: int = 0,
        of: int = 1,
        wanted: Iterable[str] = (),
    ) -> None:
        self.experiment, self.strategy = experiment, STRATEGIES[strategy]
        self.wanted = frozenset(wanted)
        self.seeds = itertools.count(seed + number, of)
        self.points = 0
        self.given: Iterator[tuple[list[Deviation], Run]] | None = None
        self.runs = self.unknown = 0
        self.courses: set[int] = set()  # of events, by a hash
        self.interrupted_at: set[Place] = set()
        self.failing = 0

    def play_in_turn(self, given: Iterator[tuple[list[Deviation], Run]]) -> None:
        """Instead of seeds: these runs, one after another (exhaustive.py)."""
        self.given = given

    def next_run(self) -> tuple[int, Run]:
        """A seed, or a number, and its run. StopIteration if all that there are were played."""
        seed = next(self.seeds)
        if self.given:
            _, run = next(self.given)
        else:
            run = self.experiment.play(self.make(seed) if self.points else Default(seed))
            self.points = self.points or max(100, run.kernel.steps)
        run = self.as_wanted(run)
        if run.failures and run.kernel.refused:
            raise SimUnsupported(f"{run.kernel.refused[0]}, and where the program went on, a run failed")
        self.runs += 1
        self.interrupted_at |= run.kernel.interrupted_at
        self.courses.add(hash(tuple(run.kernel.trail)))
        self.failing += bool(run.failures)
        self.unknown += run.outcome == "unknown"
        return seed, run

    def as_wanted(self, run: Run) -> Run:
        if not self.wanted:
            return run
        return run._replace(failures=tuple(name for name in run.failures if name in self.wanted))

    def make(self, seed: int) -> Seeded:
        return self.strategy(seed, self.points)

    def until(self, over: Callable[[], bool], *, shrink_s: float = 40.0) -> Failure | None:
        """The next failure, confirmed and shrunk; None if there is none before it is `over`."""
        while not over():
            seed, run = self.next_run()
            if run.failures:
                return self.examined(seed, run, shrink_s)
        return None

    def examined(self, seed: int, run: Run, shrink_s: float) -> Failure:
        again = self.experiment.replay(run.schedule)
        if again.digest != run.digest:
            raise NotDeterministic(f"seed {seed}: {first_difference(run, again)}")
        shrinker = Shrinker(self.experiment, run, shrink_s)
        shrinker.shrink()
        best = shrinker.run
        return Failure(
            seed, run.failures, self.runs, len(run.schedule), shrinker.tries, shrinker.experiment,
            shrinker.schedule, best.digest,
        )  # fmt: skip


def first_difference(one: Run, other: Run) -> str:
    for before, after in zip(one.kernel.trail, other.kernel.trail, strict=False):
        if before != after:
            return f"{before} in one run, {after} in the other"
    return "the same switches, but other words"

