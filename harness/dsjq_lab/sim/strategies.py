"""Ways to look for the interleaving that breaks something. None is best; `mix` takes turns.

uniform     anybody who is ready, at every operation, and at some of the points between
pct         Burckhardt et al., 2010: each task has a random priority, the highest runs, and at d - 1 random
            points the running task falls below all others. Finds a bug that needs d ordered events with a
            probability that can be proven
pos         Yuan et al., 2018 (partial order sampling): a random priority for each operation, drawn again for
            those that compete for the same thing
bounded     Musuvathi and Qadeer, 2007: nobody is interrupted, but at c random points
few         the same, in the broker alone: for short stories
roundrobin  everybody in turn, n points each
default     nobody is ever interrupted: what tests usually see

Besides who runs, a strategy decides what else may go one way or another: how late the clock is, whether a
read comes short, whom a `notify` wakes, and whether a task stands still for a while, as if its processor
were taken.
"""

import math
import random
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from dsjq_lab.sim.countdown import FOREVER
from dsjq_lab.sim.schedule import Strategy

if TYPE_CHECKING:
    from dsjq_lab.sim.tasks import Task

POINTS = 20_000  # of a run, as long as nobody has counted them
STALLS_MAX = 2
BY_PRIORITY = attrgetter("priority")
COINS = ("power", "a write", "a name", "the later", "torn")  # draws that are always worth a fair coin


class Seeded(Strategy):
    """What they have in common: dice, and the odds of everything but who runs."""

    def __init__(self, seed: int, *, oddity: float = 0.02, late: float = 0.2, stall: float = 0.0) -> None:
        self.dice = random.Random(seed)
        self.chance = self.dice.random
        self.oddity, self.late, self.stall = oddity, late, stall
        self.stalls = 0
        self.late_ns_max = 100_000_000  # set by the world: a small part of the ack timeout

    def draw(self, what: str, outcomes: int) -> int:
        if self.chance() < (0.5 if what.startswith(COINS) else self.oddity):
            return self.dice.randrange(outcomes)
        return 0

    def lateness_ns(self) -> int:
        if not self.late or self.chance() >= self.late:
            return 0
        return min(self.late_ns_max, self.dice.choice((1, 10, 100, 1000)) * 1_000_000)

    def interrupt(self, task: "Task", instead: "Task") -> "Task | int":
        """Somebody else runs; or perhaps the task, and its processor, stand still for a while."""
        if self.stall and self.stalls < STALLS_MAX and task.process and self.chance() < self.stall:
            self.stalls += 1
            return self.dice.choice((100, 500, 1000, 2000, 3000)) * 1_000_000
        return instead

    def anybody(self) -> "Task":
        ready = self.kernel.ready
        return ready[int(self.chance() * len(ready))]


class Sampling(Seeded):
    """Is asked at some of the points, each of which is chosen with probability `points`."""

    def __init__(self, seed: int, points: float, **odds: float) -> None:
        super().__init__(seed, **odds)
        self.points = points
        self.next = self.gap()  # the step of the run after which it is asked

    def gap(self) -> int:
        if not self.points:
            return FOREVER
        return 1 + int(math.log(1.0 - self.chance()) / math.log(1.0 - self.points))

    def steps(self, task: "Task") -> int:
        if self.next <= self.kernel.steps:
            self.next = self.kernel.steps + self.gap()
        return self.next - self.kernel.steps


class Uniform(Sampling):
    def __init__(self, seed: int, *, operations: float = 1.0, points: float = 0.0, **odds: float) -> None:
        super().__init__(seed, points, **odds)
        self.operations = operations
        self.at_operations = operations > 0

    def at_point(self, task: "Task") -> "Task | int":
        return self.interrupt(task, self.anybody())

    def at_operation(self, task: "Task") -> "Task":
        if self.operations < 1 and self.chance() >= self.operations:
            return task
        return self.anybody()

    def at_block(self, task: "Task") -> "Task":
        return self.anybody()


class Prioritised(Seeded):
    """Whoever has the highest priority runs."""

    at_operations = True

    def arrived(self, task: "Task") -> None:
        if not task.priority:
            task.priority = 1 + self.chance()

    def best(self) -> "Task":
        return max(self.kernel.ready, key=BY_PRIORITY)

    def at_operation(self, task: "Task") -> "Task":
        return self.best()

    def at_block(self, task: "Task") -> "Task":
        return self.best()


class Pct(Prioritised):
    def __init__(self, seed: int, *, depth: int = 3, points: int = POINTS, **odds: float) -> None:
        super().__init__(seed, **odds)
        self.falls = sorted((self.dice.randrange(1, points) for _ in range(depth - 1)), reverse=True)
        self.lowest = 0.0

    def steps(self, task: "Task") -> int:
        return max(1, self.falls[-1] - self.kernel.steps) if self.falls else FOREVER

    def at_point(self, task: "Task") -> "Task | int":
        while self.falls and self.falls[-1] <= self.kernel.steps:
            self.falls.pop()
            self.lowest -= 1
            task.priority = self.lowest
        return self.interrupt(task, self.best())


class Pos(Prioritised, Sampling):
    def __init__(self, seed: int, *, points: float = 0.05, **odds: float) -> None:
        super().__init__(seed, points=points, **odds)

    def arrived(self, task: "Task") -> None:
        task.priority = self.chance()

    def best(self) -> "Task":
        best = super().best()
        best.priority = self.chance()
        for task in self.kernel.ready:
            if task.pending is not None and task.pending is best.pending and task is not best:
                task.priority = self.chance()
        return best

    def at_point(self, task: "Task") -> "Task | int":
        task.pending = None
        task.priority = self.chance()
        return self.interrupt(task, self.best())


class Bounded(Seeded):
    def __init__(self, seed: int, *, bound: int = 3, points: int = POINTS, **odds: float) -> None:
        super().__init__(seed, **odds)
        self.moments = sorted((self.dice.randrange(1, points) for _ in range(bound)), reverse=True)

    def steps(self, task: "Task") -> int:
        return max(1, self.moments[-1] - self.kernel.steps) if self.moments else FOREVER

    def at_point(self, task: "Task") -> "Task | int":
        while self.moments and self.moments[-1] <= self.kernel.steps:
            self.moments.pop()
        others = [other for other in self.kernel.ready if other is not task]
        return self.interrupt(task, self.dice.choice(others) if others else task)

    def at_block(self, task: "Task") -> "Task":
        return self.anybody()


class Few(Bounded):
    """For short stories: a handful of interruptions, each in the broker, and else the default order."""

    def __init__(self, seed: int, *, bound: int, points: int) -> None:
        super().__init__(seed, bound=bound, points=points, oddity=0.0, late=0.2 if seed % 3 else 0.0)

    def at_point(self, task: "Task") -> "Task | int":
        others = [other for other in self.kernel.ready if other is not task and other.process is task.process]
        if task.process is None or task.process.name != "broker" or not others or self.chance() < 0.9:
            self.moments[-1] = self.kernel.steps + self.dice.randint(1, 20)  # not here: a little later
            return task
        self.moments.pop()
        return self.dice.choice(others)

    def at_block(self, task: "Task") -> "Task":
        return self.anybody() if self.chance() < 0.1 else self.kernel.ready[0]


class RoundRobin(Seeded):
    by_task = True

    def __init__(self, seed: int, *, turn: int = 0, **odds: float) -> None:
        super().__init__(seed, **odds)
        self.turn = turn or self.dice.randint(1, 50)

    def steps(self, task: "Task") -> int:
        return self.turn

    def at_point(self, task: "Task") -> "Task | int":
        ready = self.kernel.ready
        return self.interrupt(task, ready[(ready.index(task) + 1) % len(ready)])


class Default(Seeded):
    def __init__(self, seed: int) -> None:
        super().__init__(seed, oddity=0.0, late=0.0)



def mix(seed: int, points: int = POINTS) -> Seeded:
    """Eight strategies in turn, each with odds of its own: what one does not find, another will."""
    odds = random.Random(seed ^ 0x5BD1E995)
    late, oddity = odds.choice((0.0, 0.2, 0.4)), odds.choice((0.0, 0.02, 0.1))
    stall = odds.choice((0.0, 0.02))
    makers: Sequence[Callable[[], Seeded]] = (
        lambda: Uniform(seed, operations=1.0),
        lambda: Uniform(seed, operations=1.0, points=0.1),
        lambda: Uniform(seed, operations=0.1, points=0.02),
        lambda: Uniform(seed, operations=0.3, points=0.3),
        lambda: Pct(seed, depth=3, points=points),
        lambda: Pct(seed, depth=8, points=points),
        lambda: Bounded(seed, bound=10, points=points),
        lambda: Pos(seed, points=0.05),
    )
    strategy = makers[seed % len(makers)]()
    strategy.late, strategy.oddity = late, oddity
    strategy.stall = stall * (10 if isinstance(strategy, Pct | Bounded) else 1)
    return strategy


STRATEGIES: dict[str, Callable[[int, int], Seeded]] = {
    "mix": mix,
    "uniform": lambda seed, points: Uniform(seed, operations=1.0, points=0.1),
    "pct": lambda seed, points: Pct(seed, depth=3, points=points),
    "pos": lambda seed, points: Pos(seed),
    "bounded": lambda seed, points: Bounded(seed, bound=3, points=points),
    "few": lambda seed, points: Few(seed, bound=1 + seed % 4, points=points),
    "roundrobin": lambda seed, points: RoundRobin(seed),
    "default": lambda seed, points: Default(seed),
}
