"""Simulated `threading`: threads, and what belongs to each; the rest is in locks.py and waits.py.

What it promises: the whole module, as Python documents it.

What it leaves out: `settrace`, `setprofile`, and native ids that mean anything.
"""

import threading as real
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.std import us
from dsjq_lab.sim.std.locks import Lock, RLock
from dsjq_lab.sim.std.waits import Barrier, BoundedSemaphore, Condition, Event, Semaphore
from dsjq_lab.sim.tasks import Task


class Thread:
    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        process = us()
        self._target, self._args, self._kwargs = target, args, kwargs or {}
        if name is None:
            process.threads += 1
            name = f"Thread-{process.threads}"
            if target is not None:
                name += f" ({getattr(target, '__name__', target)})"
        self.name = str(name)
        self.daemon = sim().current.daemon if daemon is None else daemon
        self.number = process.number()
        self.task: Task | None = None

    @property
    def ident(self) -> int | None:
        return None if self.task is None else self.number

    native_id = ident

    def start(self) -> None:
        if self.task is not None:
            raise RuntimeError("threads can only be started once")
        kernel = sim()
        kernel.operation(self)
        process = us()
        name = f"{process.name}/{self.name}"
        self.task = kernel.start(process, name, lambda: self.run(), self, self.daemon)
        kernel.operation(self)

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def is_alive(self) -> bool:
        sim().operation(self)
        return self.task is not None and not self.task.done

    def join(self, timeout: float | None = None) -> None:
        if self.task is None:
            raise RuntimeError("cannot join thread before it is started")
        kernel = sim()
        if self.task is kernel.current:
            raise RuntimeError("cannot join current thread")
        task = kernel.operation(self)
        if self.task.joiners is not None:
            kernel.block(self, kernel.deadline(timeout), self.task.joiners)
        if kernel.watcher and self.task.done:
            kernel.watcher.acquired(task, self.task)

    def getName(self) -> str:
        return self.name

    def setName(self, name: str) -> None:
        self.name = name

    def isDaemon(self) -> bool:
        return self.daemon

    def setDaemon(self, daemon: bool) -> None:
        self.daemon = daemon

    def __repr__(self) -> str:
        return f"<Thread({self.name})>"

    def __hash__(self) -> int:
        return self.number


class Timer(Thread):
    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.interval, self.function, self.finished = interval, function, Event()
        self.args, self.kwargs = args or (), kwargs or {}

    def cancel(self) -> None:
        self.finished.set()

    def run(self) -> None:
        if not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)
        self.finished.set()


def current_thread() -> Thread:
    task = sim().current
    if task.thread is None:
        task.thread = Thread(name="MainThread", daemon=False)
        task.thread.task = task
    thread: Thread = task.thread
    return thread


def main_thread() -> Thread:
    main = us().main
    return main.thread if main.thread is not None else current_thread()


def get_ident() -> int:
    return current_thread().number


def enumerate() -> list[Thread]:
    sim().operation()
    return [task.thread or main_thread() for task in us().tasks]


def active_count() -> int:
    return len(enumerate())


class local:
    """Attributes of which each thread has its own."""

    def __init__(self) -> None:
        object.__setattr__(self, "_key", object())

    def _mine(self) -> dict[str, Any]:
        return sim().current.local.setdefault(object.__getattribute__(self, "_key"), {})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._mine()[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._mine()[name] = value

    def __delattr__(self, name: str) -> None:
        if self._mine().pop(name, self) is self:
            raise AttributeError(name)


def exports() -> dict[str, Any]:
    ours = (
        Lock, RLock, Condition, Event, Semaphore, BoundedSemaphore, Barrier, Thread, Timer, local,
        current_thread, main_thread, get_ident, enumerate, active_count,
    )  # fmt: skip
    return {
        **{thing.__name__: thing for thing in ours},
        "currentThread": current_thread,
        "get_native_id": get_ident,
        "activeCount": active_count,
        "BrokenBarrierError": real.BrokenBarrierError,
        "ThreadError": RuntimeError,
        "ExceptHookArgs": real.ExceptHookArgs,
        "TIMEOUT_MAX": real.TIMEOUT_MAX,
        "stack_size": lambda size=0: 0,
        "_register_atexit": lambda function, *args: None,
    }


def low_level() -> dict[str, Any]:
    """`_thread`, on which some modules of the standard library build."""

    def start_new_thread(function: Callable[..., object], args: Iterable[Any], kwargs: Any = None) -> int:
        thread = Thread(target=function, args=args, kwargs=kwargs, daemon=True)
        thread.start()
        return thread.number

    return {
        "allocate_lock": Lock, "LockType": Lock, "RLock": RLock, "get_ident": get_ident,
        "error": RuntimeError, "start_new_thread": start_new_thread, "TIMEOUT_MAX": real.TIMEOUT_MAX,
        "_local": local,
    }  # fmt: skip
