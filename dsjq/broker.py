"""One lock around the core and the store; and the requesters who wait for a job.

Every command takes the same path: under the lock decide, append, apply; outside of it wait until what
the answer tells is safe; then it may leave. Who sent many commands waits once, and gets all answers together.
Nothing under the lock blocks: no send, no sleep, no fsync.
Time is sampled under the lock, so that it never runs backwards in the core.

An answer about a job waits for that job's last record, whoever wrote it: a second ACK is not told OK
before the first one is safe. STATS, JOBS and EMPTY are about no job and wait for nothing.
"""
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from . import messages as m
from .lifecycle import Queue, apply, decide, due
from .store import MemoryStore, StorageFull, Store

NAME_MAX = 64  # letters
SLICE_S = 1.0  # no one sleeps longer without looking whether the client is still there


class Session:
    """One client's connection, as the broker knows it. `gone` tells whether it has hung up.

    One that `gathers` replies waits itself, for the store to reach `position`, before it sends them.
    """

    def __init__(self, id: int, gone: Callable[[], bool]):
        self.id, self.gone, self.name = id, gone, f"connection {id}"
        self.position, self.gathers, self.greeted = 0, False, False


class Broker:
    def __init__(self, ack_timeout_s: float = 30.0, max_attempts: int = 5, store: Store | None = None):
        self.store = store or MemoryStore()
        self.queue = Queue(ack_timeout_s, max_attempts, self.store.epoch)
        self.store.load(self.queue)
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        self.waiting = {"": self.work}  # who waits for work in which queue
        self.settled = threading.Condition(self.lock)
        self.draining = False
        self.sessions: dict[int, Session] = {}
        kept = (self.queue.jobs, self.queue.finished)  # and no number of a connection is used twice
        self.connected = max((job.holder for jobs in kept for job in jobs.values()), default=0)
        for holder in list(self.queue.held):  # who held a lease before a restart is gone
            self.disconnect(self.sessions.setdefault(holder, Session(holder, gone=lambda: True)))

    def connect(self, gone: Callable[[], bool] = lambda: False) -> Session:
        with self.lock:
            self.connected += 1
            return self.sessions.setdefault(self.connected, Session(self.connected, gone))

    def disconnect(self, session: Session) -> None:
        """Give back all that the connection held."""
        with self.lock:
            self._turn(m.Disconnect(), session)
            del self.sessions[session.id]

    def execute(self, command: m.Command, session: Session) -> m.Reply:
        """Carry out one command. A Reserve that waits returns as soon as there is a job.

        Raises ConnectionAbortedError if the client hangs up meanwhile.
        """
        with self.lock:
            reply, position = self._turn(command, session)
            if isinstance(command, m.Reserve) and command.wait_s and isinstance(reply, m.Empty):
                reply, position = self._wait_for_job(command, session)
        session.position = max(session.position, position)
        if not session.gathers:
            self.store.wait(position)
        return reply

    def drain(self, grace_s: float) -> None:
        """Take in no job and hand out none; take back, unharmed, what is still in flight after `grace_s`."""
        position = 0
        with self.lock, suppress(StorageFull):
            self.draining = True
            self.settled.wait_for(lambda: not self.queue.held, grace_s)
            for id in [id for held in self.queue.held.values() for id in held]:
                position = self._record([m.Released(id)])
        self.store.wait(position)

    # ---- From here on the lock is held.

    def _turn(self, command: m.Command, session: Session) -> tuple[m.Reply, int]:
        """Carry out one command: its reply, and the position that must be safe before that may leave."""
        try:
            now = self._now()
            self._let_time_pass(now)
            earliest = self._next_due()
            reply, records = self._decide(command, session, now)
            position = self._record(records) if records else 0
        except StorageFull as problem:
            return m.Error("STORAGE", str(problem)), 0
        for name, work in self.waiting.items():
            if (self.queue.lines[name] and not self.draining) or self._next_due() < earliest:
                work.notify()  # one is enough: whoever leaves work behind wakes the next
        self.settled.notify()
        job = self.queue.find(getattr(command, "job", 0) or getattr(reply, "job", 0))
        return reply, job.position if job else position

    def _wait_for_job(self, command: m.Reserve, session: Session) -> tuple[m.Reply, int]:
        now = self._now()
        until = now + command.wait_s
        work = self.waiting.setdefault(command.queue, threading.Condition(self.lock))
        while True:
            work.wait(max(0, min(until, self._next_due(), now + SLICE_S) - now))
            if session.gone():
                raise ConnectionAbortedError  # its disconnect comes next, and wakes whoever is alive
            reply, position = self._turn(command, session)
            now = self._now()
            if not isinstance(reply, m.Empty) or now >= until:
                return reply, position

    def _decide(self, command: m.Command, session: Session, now: float) -> tuple[m.Reply, list[m.Record]]:
        if isinstance(command, m.Hello):
            session.name, session.greeted = command.name[:NAME_MAX] or session.name, True
            return m.Ok(), []
        if self.draining and hasattr(command, "payload"):
            return m.Error("DRAINING", "the broker is about to stop"), []
        if self.draining and isinstance(command, m.Reserve):
            return m.Empty(), []
        reply, records = decide(self.queue, command, session.id, now)
        if isinstance(command, m.Stats) and isinstance(reply, m.Report):
            reply.data["workers"] = self._workers()
        return reply, records

    def _let_time_pass(self, now: float) -> None:
        while record := due(self.queue, now):
            self._record([record])

    def _record(self, records: list[m.Record]) -> int:
        position = self.store.append(records)
        for record in records:
            apply(self.queue, record)
            if job := self.queue.find(getattr(record, "job", 0)):
                job.position = max(job.position, position)
        return position

    def _now(self) -> float:
        return time.monotonic() + self.store.clock_s

    def _next_due(self) -> float:
        return self.queue.timers[0][0] if self.queue.timers else float("inf")

    def _workers(self) -> list[dict[str, object]]:
        return [{"name": session.name, "jobs": sorted(self.queue.held.get(session.id, ()))}
                for session in self.sessions.values() if session.greeted or session.id in self.queue.held]
