"""Simulated `threading`.

What it promises: the whole module, as Python documents it. A lock that is released wakes all who wait for it,
and whoever runs first takes it, as with a real one. Which waiter a `notify` wakes is up to the schedule: the
documentation promises no order. A circle of threads that wait for one another's locks for ever is reported at
the moment at which it closes.

What it leaves out: `settrace`, `setprofile`, and native ids that mean anything.
"""

import sys
import threading as real
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dsjq_lab.sim.kernel import Task, sim
from dsjq_lab.sim.process import Process

HERE = __file__


def us() -> Process:
    process = sim().current.process
    assert process is not None, "the lab itself uses no simulated threads"
    return process


class Named:
    """Something with a name that says where in the source it was made, the same in every run."""

    __slots__ = ("name", "number", "vector")
    kind = ""

    def __init__(self) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename == HERE and frame.f_back:
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


class Condition(Named):
    kind = "condition"

    def __init__(self, lock: Lock | None = None) -> None:
        super().__init__()
        self.lock = RLock() if lock is None else lock
        self.acquire, self.release = self.lock.acquire, self.lock.release
        self.waiters: list[Task] = []

    def __enter__(self) -> bool:
        return self.lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self.lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        kernel = sim()
        kernel.operation(self)
        if not self.lock._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        depth = self.lock._release_save()
        notified = kernel.block(self, kernel.deadline(timeout), self.waiters)
        self.lock._acquire_restore(depth)
        return notified

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline_ns = sim().deadline(timeout)
        while not (result := predicate()):
            left_s = None if deadline_ns is None else (deadline_ns - sim().now_ns) / 1e9
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
        return result

    def notify(self, n: int = 1) -> None:
        """No point: it needs the lock, so nobody can have begun to wait since that was taken."""
        kernel = sim()
        if not self.lock._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        for _ in range(min(n, len(self.waiters))):
            which = kernel.draw("notify", len(self.waiters)) if len(self.waiters) > 1 else 0
            kernel.wake(self.waiters[which])

    def notify_all(self) -> None:
        self.notify(len(self.waiters))

    notifyAll = notify_all


class Event(Named):
    kind = "event"

    def __init__(self) -> None:
        super().__init__()
        self.flag = False
        self.waiters: list[Task] = []

    def is_set(self) -> bool:
        return self._seen(sim().operation(self))

    isSet = is_set

    def set(self) -> None:
        kernel = sim()
        task = kernel.operation(self)
        if kernel.watcher:
            kernel.watcher.released(task, self)
        self.flag = True
        kernel.wake_all(self.waiters)

    def clear(self) -> None:
        sim().operation(self)
        self.flag = False

    def wait(self, timeout: float | None = None) -> bool:
        kernel = sim()
        task = kernel.operation(self)
        if not self.flag and not kernel.block(self, kernel.deadline(timeout), self.waiters):
            return self._seen(task)
        self._seen(task)
        return True

    def _seen(self, task: Task) -> bool:
        if self.flag and (watcher := sim().watcher):
            watcher.acquired(task, self)
        return self.flag


class Semaphore(Named):
    kind = "semaphore"

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        super().__init__()
        self.value = value
        self.waiters: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        kernel = sim()
        task = kernel.operation(self)
        deadline_ns = kernel.deadline(timeout)
        while self.value <= 0:
            if not blocking or not kernel.block(self, deadline_ns, self.waiters):
                return False
        self.value -= 1
        if kernel.watcher:
            kernel.watcher.acquired(task, self)
        return True

    def release(self, n: int = 1) -> None:
        if n < 1:
            raise ValueError("n must be one or more")
        kernel = sim()
        task = kernel.operation(self)
        if kernel.watcher:
            kernel.watcher.released(task, self)
        self.value += n
        for waiter in tuple(self.waiters[:n]):
            kernel.wake(waiter)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class BoundedSemaphore(Semaphore):
    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self.initial = value

    def release(self, n: int = 1) -> None:
        if self.value + n > self.initial:
            raise ValueError("Semaphore released too many times")
        super().release(n)


class Barrier(Named):
    kind = "barrier"

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> None:
        super().__init__()
        self.parties, self.action, self.timeout = parties, action, timeout
        self.condition = Condition(Lock())
        self.n_waiting, self.generation, self.broken = 0, 0, False

    def wait(self, timeout: float | None = None) -> int:
        with self.condition:
            if self.broken:
                raise real.BrokenBarrierError
            index, generation = self.n_waiting, self.generation
            self.n_waiting += 1
            if self.n_waiting == self.parties:
                if self.action:
                    self.action()
                self._next_generation()
                return index
            limit = self.timeout if timeout is None else timeout
            self.condition.wait_for(lambda: generation != self.generation or self.broken, limit)
            if generation == self.generation:
                self.broken = True
                self.n_waiting = 0
                self.condition.notify_all()
                raise real.BrokenBarrierError
            return index

    def _next_generation(self) -> None:
        self.n_waiting, self.broken = 0, False
        self.generation += 1
        self.condition.notify_all()

    def reset(self) -> None:
        with self.condition:
            waiting = self.n_waiting
            self._next_generation()
            self.broken = waiting > 0

    def abort(self) -> None:
        with self.condition:
            self.broken = True
            self.condition.notify_all()


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
