"""Simulated conditions, events, semaphores and barriers: threads that wait for what others say.

What they promise: what Python documents. Which waiter a `notify` wakes is up to the schedule: the
documentation promises no order.
"""

import threading as real
from collections.abc import Callable
from typing import Any

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.std.locks import Lock, Named, RLock
from dsjq_lab.sim.tasks import Task


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
