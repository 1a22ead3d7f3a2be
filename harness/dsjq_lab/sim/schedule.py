"""A schedule: everything in a run that could have gone another way, as a short list of deviations.

The default run is dull: a task goes on until it blocks, then the first that is ready goes on; the clock is on
time, every read is whole. A deviation names one point, by its task and its number among that task's points,
and what happens there instead. So a deviation can be taken out and the others still mean the same, as far as
the tasks still come by their points: that is what makes schedules shrink (shrink.py).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dsjq_lab.sim.countdown import FOREVER
from dsjq_lab.sim.tasks import Deviation

if TYPE_CHECKING:
    from dsjq_lab.sim.kernel import Kernel
    from dsjq_lab.sim.tasks import Task


class Strategy:
    """Makes the decisions of a run. This one makes the default ones."""

    at_operations = False  # whether it wants to be asked at each operation, besides after `steps` points
    by_task = False  # whether `steps` depends on the task, so that it is asked again at every switch

    def begin(self, kernel: "Kernel") -> None:
        self.kernel = kernel

    def arrived(self, task: "Task") -> None:
        """The task is new, or has become ready."""

    def steps(self, task: "Task") -> int:
        """After how many more points `at_point` is to be asked; the task is about to run."""
        return FOREVER

    def at_point(self, task: "Task") -> "Task | int":
        """Who runs now; or for how many nanoseconds the task is stalled."""
        return task

    def at_operation(self, task: "Task") -> "Task":
        return task

    def at_block(self, task: "Task") -> "Task":
        """Who of several ready tasks runs when `task` has blocked."""
        return self.kernel.ready[0]

    def draw(self, what: str, outcomes: int) -> int:
        return 0

    def lateness_ns(self) -> int:
        """By how much the clock overshoots the next timer: on a slow machine several are found expired."""
        return 0


class Replay(Strategy):
    """The decisions of a schedule; the default ones elsewhere."""

    by_task = True

    def __init__(self, schedule: Iterable[Deviation]) -> None:
        self.values = {(task, count, kind): value for task, count, kind, value in schedule}
        self.counts: dict[str, list[int]] = {}  # task -> its points with a deviation, the last first
        for task, count, kind in sorted(self.values, key=lambda key: -key[1]):
            if kind in ("run", "stall"):
                self.counts.setdefault(task, []).append(count)

    def steps(self, task: "Task") -> int:
        counts = self.counts.get(task.name)
        while counts and counts[-1] <= task.count:
            counts.pop()
        return counts[-1] - task.count if counts else FOREVER

    def at_point(self, task: "Task") -> "Task | int":
        stall_ns = self.values.get((task.name, task.count, "stall"))
        return stall_ns if isinstance(stall_ns, int) else self._chosen(task) or task

    def at_block(self, task: "Task") -> "Task":
        return self._chosen(task) or self.kernel.ready[0]

    def _chosen(self, task: "Task") -> "Task | None":
        name = self.values.get((task.name, task.count, "run"))
        return next((other for other in self.kernel.ready if other.name == name), None)

    def draw(self, what: str, outcomes: int) -> int:
        value = self._value("draw")
        return value if value < outcomes else 0

    def lateness_ns(self) -> int:
        return self._value("late")

    def _value(self, kind: str) -> int:
        task = self.kernel.current
        value = self.values.get((task.name, task.count, kind), 0)
        assert isinstance(value, int)
        return value


def as_lists(schedule: Sequence[Deviation]) -> list[list[str | int]]:
    """For JSON."""
    return [list(deviation) for deviation in schedule]


def from_lists(lists: Iterable[Sequence[str | int]]) -> list[Deviation]:
    return [Deviation(*fields) for fields in lists]  # type: ignore[arg-type]
