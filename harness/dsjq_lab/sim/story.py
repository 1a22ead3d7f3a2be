"""The story of a run: its deviations, line by line, each with the source line at which it happened.

    t=0.112  broker/Thread-4 (_serve)  interrupted at p07.py:31 execute   -> broker/Thread-5 (_serve)
    t=0.112  broker/Thread-5 (_serve)  waits for lock@broker.py:36        -> broker/Thread-4 (_serve)

Each line says who gave way, where, and to whom. A schedule that was shrunk has few of them. Between them
stand lines of the broker's own file that were passed before things went wrong (visits.py). `full` tells
every switch instead, not only those that were forced, with who holds which lock.
"""

import linecache
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from textwrap import shorten
from types import FrameType
from typing import NamedTuple

from dsjq_lab.sim.kernel import START_NS
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.schedule import Replay
from dsjq_lab.sim.tasks import Deviation, Task
from dsjq_lab.sim.visits import Visit, Visits

as_path = cache(Path)  # it is asked for at every point
VISITS_MAX = 4  # lines of a story; fewer if it has many deviations
SOURCE_MAX = 64  # letters
SELF_EVIDENT = ("<module>", "__init__")  # what runs once, before there is any job


class Step(NamedTuple):
    """One line of the story."""

    time_ns: int
    task: str
    what: str  # "interrupted at broker.py:70 _turn"
    to: str  # who runs then; empty if nobody else does
    source: str  # the text of the line at which it stands
    state: tuple[str, ...]  # who holds and who waits for what

    def line(self, width: int = 26) -> str:
        moment = (self.time_ns - START_NS) / 1e9
        more = f"-> {self.to}" if self.to else shorten(self.source, SOURCE_MAX, placeholder=" ...")
        return f"{f't={moment:.3f}':<8} {self.task:<{width}}  {self.what:<34}  {more}".rstrip()


class Teller(Replay):
    """Replays a schedule, and keeps its story: by the lines of files that `loader` has loaded.

    `file` is the broker's own, if it is not ours.
    """

    def __init__(
        self, schedule: Iterable[Deviation], loader: Loader, file: Path | None = None, *, full: bool = False
    ) -> None:
        super().__init__(schedule)
        self.loader, self.file, self.full = loader, file, full
        self.steps_told: list[Step] = []
        self.visits = Visits()

    def tell(self, task: Task, what: str, to: str = "", frame: FrameType | None = None) -> None:
        source, state = source_of(frame) if frame else "", self.state() if self.full else ()
        self.steps_told.append(Step(self.kernel.now_ns, task.name, what, to, source, state))

    def state(self) -> tuple[str, ...]:
        tasks = [task for process in self.kernel.processes for task in process.tasks]
        holding = [f"{task.name} holds {', '.join(map(str, task.held))}" for task in tasks if task.held]
        waiting = [f"{task.name} waits for {task.waiting}" for task in tasks if task.waiting is not None]
        return (*holding, *waiting)

    def steps(self, task: Task) -> int:
        of_the_broker = task.process is not None and task.process.name == "broker"
        return 1 if of_the_broker and self.file and not self.full else super().steps(task)

    def at_point(self, task: Task) -> Task | int:
        choice, frame = super().at_point(task), place(self.loader)
        if frame and path_of(frame) == self.file:
            self.visit(task, frame)
        if choice is not task:
            if isinstance(choice, int):
                self.tell(task, f"stands still for {choice / 1e9:.3f} s at {spot(frame)}", frame=frame)
            else:
                self.tell(task, f"interrupted at {spot(frame)}", choice.name, frame)
        return choice

    def visit(self, task: Task, frame: FrameType) -> None:
        if frame.f_code.co_name not in SELF_EVIDENT:
            visit = Visit(self.kernel.now_ns, task.name, spot(frame), source_of(frame))
            self.visits.note(visit, len(self.kernel.trail))

    def between(self, since_ns: int, until_ns: int | None) -> list[Step]:
        """All steps; and if they are few, lines of the broker's own file that were passed meanwhile."""
        room = max(0, VISITS_MAX - len(self.steps_told))
        return self.with_visits("passes", self.visits.telling(since_ns, until_ns, room))

    def standing(self, tasks: list[str]) -> list[Step]:
        """All steps; and where these threads stand in the end."""
        return self.with_visits("stands at", self.visits.last(tasks))

    def with_visits(self, how: str, visits: list[Visit]) -> list[Step]:
        passed = [
            Step(visit.time_ns, visit.task, f"{how} {visit.spot}", "", visit.source, ()) for visit in visits
        ]
        return sorted([*self.steps_told, *passed], key=lambda step: step.time_ns)

    def at_block(self, task: Task) -> Task:
        choice = super().at_block(task)
        if choice is not self.kernel.ready[0] or self.full:
            frame = place(self.loader)
            waiting = "has ended" if task.done else f"waits for {task.waiting} at {spot(frame)}"
            self.tell(task, waiting, choice.name, frame)
        return choice

    def draw(self, what: str, outcomes: int) -> int:
        outcome = super().draw(what, outcomes)
        if outcome:
            frame = place(self.loader)
            self.tell(self.kernel.current, f"{what}, {outcome} of {outcomes}, at {spot(frame)}", frame=frame)
        return outcome

    def lateness_ns(self) -> int:
        late_ns = super().lateness_ns()
        if late_ns:
            self.tell(self.kernel.current, f"the clock jumps, {late_ns / 1e6:g} ms too far")
        return late_ns


def place(loader: Loader) -> FrameType | None:
    """The innermost frame, of the thread that runs, in a file that is studied."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and path_of(frame) not in loader.codes:
        frame = frame.f_back
    return frame


def path_of(frame: FrameType) -> Path:
    return as_path(frame.f_code.co_filename)


def spot(frame: FrameType | None) -> str:
    if frame is None:
        return "the lab's own code"
    return f"{path_of(frame).name}:{frame.f_lineno} {frame.f_code.co_name}"


def source_of(frame: FrameType) -> str:
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
