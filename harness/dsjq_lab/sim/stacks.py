"""What a task's call stack lives on: an OS thread, of which one at a time holds the baton.

Python cannot set a stack aside and take up another by itself. So every task has a thread, and a thread runs
only while it is handed the baton: `switch` hands it over and waits to get it back. Nothing else ever runs, so
simulated code needs no locking, and the order in which stacks run is decided by the scheduler alone. Threads
are kept for the next task, and the next run: to start one costs more than all its switches.

A process that explores is pinned to one processor (`pinned`): a hand-over to another one takes twice as long.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_idle: list["_Carrier"] = []


class Stack:
    """The stack of this very thread, or of a task that has not begun: `body` returns who runs after it."""

    def __init__(self, body: "Callable[[], Stack] | None" = None) -> None:
        self.body = body
        self.baton = threading.Lock()
        self.baton.acquire()
        self.thread_id: int | None = threading.get_ident() if body is None else None

    @property
    def begun(self) -> bool:
        return self.thread_id is not None

    def switch(self, to: "Stack") -> None:
        """Called on this stack: runs `to`, and returns when somebody switches back."""
        to.resume()
        self.baton.acquire()

    def resume(self) -> None:
        if self.thread_id is None:
            carrier = _idle.pop() if _idle else _Carrier()
            carrier.carry(self)
        else:
            self.baton.release()


class _Carrier:
    """A thread that carries one stack after another."""

    def __init__(self) -> None:
        self.load: Stack | None = None
        self.wanted = threading.Lock()
        self.wanted.acquire()
        self.thread = threading.Thread(target=self._run, name="carrier", daemon=True)
        self.thread.start()

    def carry(self, stack: Stack) -> None:
        stack.thread_id = self.thread.ident
        self.load = stack
        self.wanted.release()

    def _run(self) -> None:
        while True:
            self.wanted.acquire()
            assert self.load is not None and self.load.body is not None
            successor = self.load.body()
            self.load = None
            _idle.append(self)
            successor.resume()


def pinned(number: int) -> None:
    """Keeps this process on one of its processors, where the system knows how."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            mine = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {mine[number % len(mine)]})
