"""The story of a run: its deviations, line by line, each with the source line at which it happened.

    t=0.112  broker/Thread-4 (_serve)  interrupted at p07.py:31 execute   -> broker/Thread-5 (_serve)
    t=0.112  broker/Thread-5 (_serve)  waits for lock@broker.py:36        -> broker/Thread-4 (_serve)

Each line says who gave way, where, and to whom. A schedule that was shrunk has few of them. `full` tells
every switch, not only those that were forced, with who holds which lock.
"""

import linecache
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from dsjq_lab.sim.kernel import START_NS
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.schedule import Replay
from dsjq_lab.sim.tasks import Deviation, Task


class Step(NamedTuple):
    """One line of the story."""

    time_ns: int
    task: str
    what: str  # "interrupted at broker.py:70 _turn"
    to: str  # who runs then; empty if nobody else does
    source: str  # the text of the line at which it stands
    state: tuple[str, ...]  # who holds and who waits for what

    def line(self, width: int = 26) -> str:
        moment, arrow = (self.time_ns - START_NS) / 1e9, f"  -> {self.to}" if self.to else ""
        return f"t={moment:.3f}  {self.task:<{width}}  {self.what:<48}{arrow}".rstrip()


class Teller(Replay):
    """Replays a schedule, and keeps its story: by the lines of files that `loader` has loaded."""

    def __init__(self, schedule: Iterable[Deviation], loader: Loader, *, full: bool = False) -> None:
        super().__init__(schedule)
        self.loader, self.full = loader, full
        self.steps_told: list[Step] = []

    def tell(self, task: Task, what: str, to: str = "", frame: FrameType | None = None) -> None:
        source = ""
        if frame is not None:
            source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        step = Step(self.kernel.now_ns, task.name, what, to, source, self.state() if self.full else ())
        self.steps_told.append(step)

    def state(self) -> tuple[str, ...]:
        tasks = [task for process in self.kernel.processes for task in process.tasks]
        holding = [f"{task.name} holds {', '.join(map(str, task.held))}" for task in tasks if task.held]
        waiting = [f"{task.name} waits for {task.waiting}" for task in tasks if task.waiting is not None]
        return (*holding, *waiting)

    def place(self) -> FrameType | None:
        """The innermost frame, of the thread that runs, in a file that is studied."""
        frame: FrameType | None = sys._getframe()
        while frame is not None and Path(frame.f_code.co_filename) not in self.loader.codes:
            frame = frame.f_back
        return frame

    def at_point(self, task: Task) -> Task | int:
        choice = super().at_point(task)
        if choice is not task:
            frame = self.place()
            if isinstance(choice, int):
                self.tell(task, f"stands still for {choice / 1e9:.3f} s at {spot(frame)}", frame=frame)
            else:
                self.tell(task, f"interrupted at {spot(frame)}", choice.name, frame)
        return choice

    def at_block(self, task: Task) -> Task:
        choice = super().at_block(task)
        if choice is not self.kernel.ready[0] or self.full:
            frame = self.place()
            waiting = "has ended" if task.done else f"waits for {task.waiting} at {spot(frame)}"
            self.tell(task, waiting, choice.name, frame)
        return choice

    def draw(self, what: str, outcomes: int) -> int:
        outcome = super().draw(what, outcomes)
        if outcome:
            frame = self.place()
            self.tell(self.kernel.current, f"{what}, {outcome} of {outcomes}, at {spot(frame)}", frame=frame)
        return outcome

    def lateness_ns(self) -> int:
        late_ns = super().lateness_ns()
        if late_ns:
            self.tell(self.kernel.current, f"the clock jumps, {late_ns / 1e6:g} ms too far")
        return late_ns


def spot(frame: FrameType | None) -> str:
    if frame is None:
        return "the lab's own code"
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
