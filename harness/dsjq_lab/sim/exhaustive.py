"""Every schedule within a bound, one after another: the only search that may say "complete".

The bound is on delays (Emmi, Qadeer and Rakamarić, 2011): the default schedule is followed, but for at most
`bound` deviations, each of which lets another thread of the studied program run at a point where it is
ready. A run notes all the places after its last deviation at which it could have deviated; each of them,
added to its schedule, is a run to come. So each schedule is played exactly once.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from dsjq_lab.sim.schedule import Replay, Strategy
from dsjq_lab.sim.tasks import Deviation

if TYPE_CHECKING:
    from dsjq_lab.sim.tasks import Task

Result = TypeVar("Result")


class Surveyor(Replay):
    """Follows a schedule, and notes what else could have happened after the last of its deviations.

    `studied` is the name of the process whose threads are interleaved.
    """

    def __init__(self, schedule: Iterable[Deviation], studied: str) -> None:
        self.left = list(schedule)
        super().__init__(self.left)
        self.studied = studied
        self.alternatives: list[Deviation] = []

    def steps(self, task: "Task") -> int:
        return 1 if self.of_the_studied(task) else super().steps(task)

    def of_the_studied(self, task: "Task") -> bool:
        return task.process is not None and task.process.name == self.studied

    def at_point(self, task: "Task") -> "Task | int":
        choice = super().at_point(task)
        self.survey(task, choice)
        return choice

    def at_block(self, task: "Task") -> "Task":
        choice = super().at_block(task)
        self.survey(task, choice)
        return choice

    def survey(self, task: "Task", choice: "Task | int") -> None:
        address = (task.name, task.count, "run")
        if address in self.values:
            self.left = [deviation for deviation in self.left if deviation[:3] != address]
        elif not self.left:
            self.alternatives += [
                Deviation(task.name, task.count, "run", other.name)
                for other in self.kernel.ready
                if other not in (task, choice) and self.of_the_studied(other)
            ]


def exhaust(
    play: Callable[[Strategy], Result], studied: str, bound: int
) -> Iterator[tuple[list[Deviation], Result]]:
    """Each schedule within the bound, and what `play` made of it. Complete when it ends by itself."""
    waiting: list[list[Deviation]] = [[]]
    while waiting:
        schedule = waiting.pop()
        surveyor = Surveyor(schedule, studied)
        yield schedule, play(surveyor)
        if len(schedule) < bound:
            waiting += [[*schedule, alternative] for alternative in reversed(surveyor.alternatives)]
