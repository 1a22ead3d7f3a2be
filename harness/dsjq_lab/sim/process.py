"""A simulated process: memory of its own, descriptors, signals, and what it printed.

Its memory is its own because every process loads its own copy of each module (loader.py). What it promises: a
descriptor is the lowest free number, as in Unix; at its end all are closed, and what it had printed is kept.
What it leaves out: children, threads that block signals each in its own way (the mask is the process's), and
signals other than SIGTERM, SIGINT and SIGKILL sent by the lab or by `os.kill`.
"""

import random
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from dsjq_lab.sim.disk import Disk
from dsjq_lab.sim.kernel import Kernel
from dsjq_lab.sim.tasks import Endless, Task

OUTPUT_MAX = 1_000_000  # letters that one process may print


class Descriptor(Protocol):
    """What a number of a process stands for: a socket, or an open file."""

    def release(self) -> None:
        """The last to use it has gone."""


class Process:
    def __init__(
        self, kernel: Kernel, name: str, argv: list[str], *, disk: Disk, environ: dict[str, str] | None = None
    ) -> None:
        self.kernel, self.name, self.argv, self.disk = kernel, name, argv, disk
        self.environ = environ or {}
        self.pid = 1000 + len(kernel.processes)
        kernel.processes.append(self)
        self.modules: dict[str, Any] = {}
        self.descriptors: dict[int, Descriptor] = {}
        self.output: list[str] = []
        self.printed = 0
        self.alive, self.paused = True, False
        self.status: int | None = None
        self.tasks: list[Task] = []
        self.parked: list[Task] = []  # ready, but the process is paused
        self.exit_waiters: list[Task] = []
        self.threads = 0  # started so far, for their names
        self.objects = 0  # numbered so far
        self.identities: dict[int, tuple[int, Any]] = {}  # address -> what `id` tells of the object there
        self.sites: dict[str, int] = {}  # where in the source something was created, and how often
        self.masked: set[int] = set()
        self.pending: set[int] = set()  # signals that are masked
        self.signal_waiters: list[Task] = []
        self.handlers: dict[int, Callable[[int, None], object]] = {}
        self.interrupts: list[int] = []  # signals whose handlers are due
        self.report: Callable[[dict[str, Any]], None] = lambda message: None  # of a client, to the lab
        self.on_exit: Callable[[int], object] = lambda status: None
        self.main: Task

    @cached_property
    def dice(self) -> random.Random:
        """What its `random` module throws."""
        return random.Random(f"{self.name} {self.pid}")

    def begin(self, body: Callable[[], object]) -> None:
        self.main = self.kernel.start(self, self.name, body)

    # -- Descriptors

    def open(self, descriptor: Descriptor) -> int:
        number = 3
        while number in self.descriptors:
            number += 1
        self.descriptors[number] = descriptor
        return number

    def descriptor(self, number: int) -> Any:
        if number not in self.descriptors:
            raise OSError(9, "Bad file descriptor")
        return self.descriptors[number]

    def release(self) -> None:
        for descriptor in tuple(self.descriptors.values()):
            descriptor.release()
        self.descriptors.clear()

    # -- Signals

    def signal(self, signum: int) -> None:
        if signum in self.masked:
            self.pending.add(signum)
            self.kernel.wake_all(self.signal_waiters)
        elif signum in self.handlers:
            self.interrupts.append(signum)
            self.kernel.interrupted = True
            if self.main.waiting is not None and not self.main.done:
                self.kernel.wake(self.main, "signal")
        else:
            self.kernel.end(self, -signum)

    def handle_signals(self) -> None:
        while self.interrupts:
            signum = self.interrupts.pop(0)
            self.kernel.interrupted = any(process.interrupts for process in self.kernel.processes)
            self.handlers[signum](signum, None)

    # -- Its end, and its words

    def exit_with(self, code: object) -> None:
        if code is None or isinstance(code, int):
            self.status = code or 0
        else:
            self.write(f"{code}\n")
            self.status = 1

    def complain(self, task: Task, problem: BaseException) -> None:
        """What Python prints of an exception that nobody caught."""
        if task is not self.main:
            self.write(f"Exception in thread {task.name.partition('/')[2]}:\n")
        self.write("".join(traceback.format_exception(problem)))

    def write(self, text: str) -> None:
        self.printed += len(text)
        if self.printed > OUTPUT_MAX:
            self.kernel.abort(Endless(f"{self.name} has printed more than {OUTPUT_MAX} letters"))
        self.output.append(text)

    def site(self, kind: str, place: str) -> str:
        """A name for something that is created in the source at `place`, the same in every run."""
        name = f"{kind}@{place}"
        number = self.sites[name] = self.sites.get(name, 0) + 1
        return name if number == 1 else f"{name}~{number}"

    def number(self) -> int:
        self.objects += 1
        return self.objects


