"""One lock around the core and the store; and the requesters who wait for a job.

Every command takes the same path: under the lock decide, append, apply; outside of it wait until
the records are safe; then the answer may leave. Nothing under the lock blocks: no send, no sleep,
no fsync. Time is sampled under the lock, so that it never runs backwards in the core.
"""
import threading
import time
from collections.abc import Callable

from .lifecycle import Queue, apply, decide, due
from .messages import Command, Disconnect, Empty, Hello, Ok, Record, Reply, Report, Reserve, Stats
from .store import MemoryStore, Store

SLICE_S = 1.0  # no one sleeps longer without looking whether the client is still there


class Session:
    """One client's connection, as the broker knows it. `gone` tells whether it has hung up."""

    def __init__(self, id: int, gone: Callable[[], bool]):
        self.id, self.gone, self.name = id, gone, f"connection {id}"


class Broker:
    def __init__(self, ack_timeout_s: float = 30.0, max_attempts: int = 5, store: Store | None = None):
        self.store = store or MemoryStore()
        self.queue = Queue(ack_timeout_s, max_attempts, self.store.epoch)
        for record in self.store.load():
            apply(self.queue, record)
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        self.sessions: dict[int, Session] = {}
        self.connected = 0

    def connect(self, gone: Callable[[], bool] = lambda: False) -> Session:
        with self.lock:
            self.connected += 1
            session = self.sessions[self.connected] = Session(self.connected, gone)
            return session

    def disconnect(self, session: Session) -> None:
        """Give back all that the connection held."""
        self.execute(Disconnect(), session)
        with self.lock:
            del self.sessions[session.id]

    def execute(self, command: Command, session: Session) -> Reply:
        """Carry out one command. A Reserve that waits returns as soon as there is a job."""
        with self.lock:
            reply, position = self._turn(command, session)
            if isinstance(command, Reserve) and command.wait_s and isinstance(reply, Empty):
                reply, position = self._wait_for_job(command, session)
        self.store.wait(position)
        return reply

    # ---- From here on the lock is held.

    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        now = time.monotonic()
        earliest = self._next_due()
        self._let_time_pass(now)
        if isinstance(command, Hello):
            session.name = command.name
            reply: Reply = Ok()
            records: list[Record] = []
        else:
            reply, records = decide(self.queue, command, session.id, now)
        if isinstance(command, Stats) and isinstance(reply, Report):
            reply.data["workers"] = self._workers()
        position = self._record(records)
        self._let_time_pass(now)  # a failed job whose retry begins at once is PENDING again
        if self.queue.pending or self._next_due() < earliest:
            self.work.notify()  # one is enough: whoever leaves work behind wakes the next
        return reply, position

    def _wait_for_job(self, command: Reserve, session: Session) -> tuple[Reply, int]:
        now = time.monotonic()
        until = now + command.wait_s
        while True:
            self.work.wait(max(0, min(until, self._next_due(), now + SLICE_S) - now))
            if session.gone():
                return Empty(), 0  # its disconnect comes next, and wakes whoever is alive
            reply, position = self._turn(command, session)
            now = time.monotonic()
            if not isinstance(reply, Empty) or now >= until:
                return reply, position

    def _let_time_pass(self, now: float) -> None:
        while record := due(self.queue, now):
            self._record([record])

    def _record(self, records: list[Record]) -> int:
        position = self.store.append(records)
        for record in records:
            apply(self.queue, record)
        return position

    def _next_due(self) -> float:
        return self.queue.timers[0][0] if self.queue.timers else float("inf")

    def _workers(self) -> list[dict[str, object]]:
        return [{"name": session.name, "jobs": sorted(self.queue.held.get(session.id, ()))}
                for session in self.sessions.values()]
