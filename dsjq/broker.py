"""One lock around the core and the store; and the requesters who wait for a job.

Every command takes the same path: under the lock decide, append, apply; outside of it wait until
the records are safe; then the answer may leave. Nothing under the lock blocks: no send, no sleep,
no fsync. Time is sampled under the lock, so that it never runs backwards in the core.
"""
import threading
import time
from collections.abc import Callable

from . import messages as m
from .lifecycle import Queue, apply, decide, due
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
        self.settled = threading.Condition(self.lock)
        self.draining = False
        self.sessions: dict[int, Session] = {}
        self.connected = 0

    def connect(self, gone: Callable[[], bool] = lambda: False) -> Session:
        with self.lock:
            self.connected += 1
            session = self.sessions[self.connected] = Session(self.connected, gone)
            return session

    def disconnect(self, session: Session) -> None:
        """Give back all that the connection held."""
        self.execute(m.Disconnect(), session)
        with self.lock:
            del self.sessions[session.id]

    def execute(self, command: m.Command, session: Session) -> m.Reply:
        """Carry out one command. A Reserve that waits returns as soon as there is a job."""
        with self.lock:
            reply, position = self._turn(command, session)
            if isinstance(command, m.Reserve) and command.wait_s and isinstance(reply, m.Empty):
                reply, position = self._wait_for_job(command, session)
        self.store.wait(position)
        return reply

    def drain(self, grace_s: float) -> None:
        """Take in no job and hand out none; what is in flight after `grace_s` is taken back unharmed."""
        with self.lock:
            self.draining = True
            self.settled.wait_for(lambda: not self.queue.held, grace_s)
            position = self._record([m.Released(id) for held in self.queue.held.values() for id in held])
        self.store.wait(position)

    # ---- From here on the lock is held.

    def _turn(self, command: m.Command, session: Session) -> tuple[m.Reply, int]:
        now = time.monotonic()
        earliest = self._next_due()
        self._let_time_pass(now)
        if isinstance(command, m.Hello):
            session.name = command.name
            reply: m.Reply = m.Ok()
            records: list[m.Record] = []
        elif self.draining and isinstance(command, m.Submit | m.Reserve):
            closed = m.Error("DRAINING", "the broker is about to stop")
            reply, records = closed if isinstance(command, m.Submit) else m.Empty(), []
        else:
            reply, records = decide(self.queue, command, session.id, now)
        if isinstance(command, m.Stats) and isinstance(reply, m.Report):
            reply.data["workers"] = self._workers()
        position = self._record(records)
        self._let_time_pass(now)  # a failed job whose retry begins at once is PENDING again
        if (self.queue.pending and not self.draining) or self._next_due() < earliest:
            self.work.notify()  # one is enough: whoever leaves work behind wakes the next
        self.settled.notify()
        return reply, position

    def _wait_for_job(self, command: m.Reserve, session: Session) -> tuple[m.Reply, int]:
        now = time.monotonic()
        until = now + command.wait_s
        while True:
            self.work.wait(max(0, min(until, self._next_due(), now + SLICE_S) - now))
            if session.gone():
                return m.Empty(), 0  # its disconnect comes next, and wakes whoever is alive
            reply, position = self._turn(command, session)
            now = time.monotonic()
            if not isinstance(reply, m.Empty) or now >= until:
                return reply, position

    def _let_time_pass(self, now: float) -> None:
        while record := due(self.queue, now):
            self._record([record])

    def _record(self, records: list[m.Record]) -> int:
        position = self.store.append(records)
        for record in records:
            apply(self.queue, record)
        return position

    def _next_due(self) -> float:
        return self.queue.timers[0][0] if self.queue.timers else float("inf")

    def _workers(self) -> list[dict[str, object]]:
        return [{"name": session.name, "jobs": sorted(self.queue.held.get(session.id, ()))}
                for session in self.sessions.values()]
