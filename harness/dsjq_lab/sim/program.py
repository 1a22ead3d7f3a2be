"""One program by itself in the explored world: a small model, or a script that tests the world itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsjq_lab.sim.disk import Disk
from dsjq_lab.sim.kernel import Kernel
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.net import Network
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.schedule import Strategy
from dsjq_lab.sim.tasks import Endless, Stuck, Task


class Outcome(NamedTuple):
    kernel: Kernel
    process: Process
    failures: tuple[str, ...]  # deadlock, stuck, endless, thread_died, exit status N

    @property
    def output(self) -> str:
        return "".join(self.process.output)


def run_program(
    path: Path,
    strategy: Strategy | None = None,
    *,
    loader: Loader | None = None,
    arguments: Sequence[str] = (),
    disk: Disk | None = None,
    watcher: Any = None,
) -> Outcome:
    """What `python PATH ARGUMENTS` does under a schedule, until it ends or can go no further."""
    kernel = Kernel(strategy or Strategy())
    kernel.network, kernel.watcher = Network(), watcher
    loader = loader or Loader([path.parent])
    wrong: dict[str, None] = {}

    def note_death(task: Task, problem: BaseException) -> None:
        wrong["thread_died"] = None

    def note_deadlock(circle: list[tuple[Task, Any]]) -> None:
        wrong["deadlock"] = None

    kernel.on_death, kernel.on_deadlock = note_death, note_deadlock
    process = Process(kernel, path.stem, [str(path), *arguments], disk=disk or Disk())

    def play() -> None:
        process.begin(lambda: loader.run(process, path, None))
        while process.alive:
            kernel.block("the end of the program", None, process.exit_waiters)

    try:
        kernel.run(play)
    except (Stuck, Endless) as end:
        wrong[type(end).__name__.lower()] = None
    else:
        if process.status:
            wrong[f"exit status {process.status}"] = None
    return Outcome(kernel, process, tuple(wrong))
