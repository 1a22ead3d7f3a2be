"""Simulated locks.

What they promise: a lock that is released wakes all who wait for it, and whoever runs first takes it, as with
a real one. A circle of threads that wait for one another's locks for ever is reported at the moment at which
it closes.
"""

import sys
from pathlib import Path
from typing import Any

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.std import us
from dsjq_lab.sim.tasks import Task

HERE = str(Path(__file__).parent)


class Named:
    """Something with a name that says where in the source it was made, the same in every run."""

    __slots__ = ("name", "number", "vector")
    kind = ""

    def __init__(self) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith(HERE) and frame.f_back:
            frame = frame.f_back
        module = frame.f_code.co_filename.rpartition("/")[2]
        self.name = us().site(self.kind, f"{module}:{frame.f_lineno}")
        self.number = us().number()
        self.vector: dict[Task, int] | None = None  # for the race detector

    def __repr__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return self.number


class Lock(Named):
    __slots__ = ("owner", "waiters")
    kind = "lock"

    def __init__(self) -> None:
        super().__init__()
        self.owner: Task | None = None
        self.waiters: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        kernel = sim()
        kernel.operation(self)
        if self.owner is not None and not blocking:
            return False
        return self._take(kernel.deadline(None if timeout == -1 else timeout))

    def _take(self, deadline_ns: int | None) -> bool:
        kernel = sim()
        task = kernel.current
        if kernel.watcher:
            kernel.watcher.wanted(task, self)
        while self.owner is not None:
            if deadline_ns is None:
                self._look_for_circle(task)
            if not kernel.block(self, deadline_ns, self.waiters):
                return False
        self.owner = task
        task.held.append(self)
        if kernel.watcher:
            kernel.watcher.acquired(task, self)
        return True

    def _give(self) -> None:
        kernel, owner = sim(), self.owner
        assert owner is not None
        owner.held.remove(self)
        if kernel.watcher:
            kernel.watcher.released(kernel.current, self)
        self.owner = None
        kernel.wake_all(self.waiters)

    def _look_for_circle(self, task: Task) -> None:
        """Whether the owner waits, at the end of a chain of owners, for a lock of this very task."""
        circle: list[tuple[Task, Any]] = [(task, self)]
        owner = self.owner
        while owner is not None and owner is not task and isinstance(owner.waiting, Lock):
            if (owner, owner.waiting) in circle:
                return  # it leads into a circle that was there before
            circle.append((owner, owner.waiting))
            owner = owner.waiting.owner
        if owner is task:
            sim().on_deadlock(circle)

    def release(self) -> None:
        sim().operation(self)
        if self.owner is None:
            raise RuntimeError("release unlocked lock")
        self._give()

    def locked(self) -> bool:
        sim().operation(self)
        return self.owner is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _is_owned(self) -> bool:
        return self.owner is not None

    def _release_save(self) -> int:
        self._give()
        return 1

    def _acquire_restore(self, depth: int) -> None:
        self._take(None)


class RLock(Lock):
    __slots__ = ("depth",)
    kind = "rlock"

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.owner is not sim().current and not super().acquire(blocking, timeout):
            return False
        self.depth += 1
        return True

    def release(self) -> None:
        sim().operation(self)
        if self.owner is not sim().current:
            raise RuntimeError("cannot release un-acquired lock")
        self.depth -= 1
        if not self.depth:
            self._give()

    def _is_owned(self) -> bool:
        return self.owner is sim().current

    def _release_save(self) -> int:
        depth, self.depth = self.depth, 0
        self._give()
        return depth

    def _acquire_restore(self, depth: int) -> None:
        self._take(None)
        self.depth = depth
