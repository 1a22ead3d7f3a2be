"""What the kernel deals in: tasks, the decisions that were made about them, and how a run may end."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from dsjq_lab.sim import stacks

if TYPE_CHECKING:
    from dsjq_lab.sim.process import Process

Place = tuple[str, int]  # a file and a line


class SimKilled(BaseException):
    """Unwinds the stack of a task whose process has been killed."""


class SimError(Exception):
    """The run cannot go on, for a reason that is no verdict on the broker."""


class Stuck(SimError):
    """Nobody can ever run again."""


class Endless(SimError):
    """A loop that nothing ends, or a flood of output."""


class Deviation(NamedTuple):
    """One decision that was not the default, at the `count`-th point of `task`.

    kind "run": the name of the task to run · "stall": nanoseconds for which the task is not run · "late":
    nanoseconds by which the clock overshoots · "draw": the outcome of what may go one way or another
    """

    task: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    kind: str
    value: str | int


class Task:
    """One thread of a simulated process."""

    __slots__ = (
        "alarm", "body", "count", "daemon", "dying", "held", "joiners", "local", "name", "outcome", "pending",
        "priority", "process", "stack", "thread", "vector", "wait_lists", "waiting",
    )  # fmt: skip

    def __init__(self, process: "Process | None", name: str, body: Callable[[], object]) -> None:
        self.process, self.name, self.body = process, name, body
        self.stack: stacks.Stack
        self.count = 0  # points passed
        self.waiting: Any = None  # for what, if it is blocked
        self.wait_lists: tuple[list[Task], ...] = ()
        self.alarm = 0  # grows with every block and every wake: tells a timer that it comes too late
        self.outcome = ""  # of its last block: woken, timeout or signal
        self.dying = 0  # points passed since it was killed, and one
        self.joiners: list[Task] | None = []  # None: it has ended
        self.daemon = False
        self.thread: Any = None  # its threading.Thread
        self.local: dict[Any, dict[str, Any]] = {}
        self.held: list[Any] = []  # locks
        self.priority = 0.0  # for the strategy
        self.pending: Any = None  # what its next operation is about, for the strategy
        self.vector: dict[Task, int] = {}  # for the race detector

    @property
    def done(self) -> bool:
        return self.joiners is None

    def __repr__(self) -> str:
        return self.name
