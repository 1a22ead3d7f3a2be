"""What a task's call stack lives on: a greenlet, or an OS thread of which one at a time holds the baton.

Python cannot set a stack aside and take up another by itself. Where the package `greenlet` is installed, it
can: a switch is a copy of some bytes. Elsewhere every task has a thread, and a thread runs only while it is
handed the baton: `switch` hands it over and waits to get it back. Either way nothing else ever runs, so
simulated code needs no locking, and the order in which stacks run is decided by the scheduler alone: a run is
the same to the byte on both. Threads are kept for the next task, and the next run: to start one costs more
than all its switches.

A process that explores is pinned to one processor (`pinned`): a hand-over to another one takes twice as long.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Protocol, Self

try:
    import greenlet
except ImportError:  # the extra `explore`
    greenlet = None

_idle: list["_Carrier"] = []
_lost: list["Stack"] = []


class Stack(Protocol):
    """The stack of whoever creates it, or of a task that has not begun: `body` returns who runs after it."""

    def __init__(self, body: "Callable[[], Any] | None" = None) -> None: ...

    @property
    def begun(self) -> bool: ...

    def switch(self, to: Self) -> None:
        """Called on this stack: runs `to`, and returns when somebody switches back."""


class Threaded:
    """A stack that is a thread's."""

    def __init__(self, body: "Callable[[], Threaded] | None" = None) -> None:
        self.body = body
        self.baton = threading.Lock()
        self.baton.acquire()
        self.begun = body is None

    def switch(self, to: "Threaded") -> None:
        to.resume()
        self.baton.acquire()

    def resume(self) -> None:
        if self.begun:
            self.baton.release()
        else:
            self.begun = True
            carrier = _idle.pop() if _idle else _Carrier()
            carrier.carry(self)


class _Carrier:
    """A thread that carries one stack after another."""

    def __init__(self) -> None:
        self.load: Threaded | None = None
        self.wanted = threading.Lock()
        self.wanted.acquire()
        self.thread = threading.Thread(target=self._run, name="carrier", daemon=True)
        self.thread.start()

    def carry(self, stack: Threaded) -> None:
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


class Green:
    """A stack that is a greenlet's."""

    def __init__(self, body: "Callable[[], Green] | None" = None) -> None:
        self.body = body
        self.carrier: Any = greenlet.getcurrent() if body is None else None

    @property
    def begun(self) -> bool:
        return self.carrier is not None

    def switch(self, to: "Green") -> None:
        """A stack is begun by the relay: it would count the frames of its beginner as its own, and so on."""
        if to.begun:
            to.carrier.switch()
        else:
            _relay().switch(to)

    def ready(self) -> Any:
        if self.carrier is None:
            self.carrier = greenlet.greenlet(self._run, _relay())
        return self.carrier

    def _run(self) -> "Green":
        assert self.body is not None
        return self.body()


@cache
def _relay() -> Any:
    """Switches to whom it is given: by one that has not begun, or by one that has ended."""

    def run(successor: Green) -> None:
        while True:
            successor = successor.ready().switch()

    return greenlet.greenlet(run)


def chosen() -> type[Stack]:
    """The faster kind of those that are here."""
    return Threaded if greenlet is None else Green


def lose(stack: Stack) -> None:
    """Nobody will switch to it any more, and it must not be unwound: its code heeds nothing."""
    _lost.append(stack)


def pinned(number: int) -> None:
    """Keeps this process on one of its processors, where the system knows how."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            mine = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {mine[number % len(mine)]})
