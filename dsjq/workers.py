"""Those who bring work and those who do it.

A worker promises little: it may die at any moment, and the broker then gives its job to another.
So a job can run twice, and a handler should not mind: that is at-least-once delivery.
"""
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from .client import Connection, OutcomeUnknown, Refused
from .messages import Ack, Fail, JobId, Release, Reserve, Reserved, Submit, Touch


class Job(NamedTuple):
    id: int
    payload: bytes
    token: str  # larger with every delivery of any job: hand it to whatever must fence off zombies
    attempt: int  # 1 for the first delivery
    lease_s: float


class Producer(Connection):
    def submit(self, payload: bytes | str, *, delay_s: float = 0.0, priority: int = 0, lease_s: float = 0.0,
               retries: int | None = None, key: str = "") -> int:
        """The new job's id. Raises Refused, OutcomeUnknown (it may be there), ValueError.

        With a `key` it is safe to submit again what may be there: the same job is found, and its id.
        The smaller `priority` goes first; `lease_s` 0 and `retries` None are as the broker has it.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        reply = self.call(Submit(data, delay_s, priority, lease_s, retries, key))
        assert isinstance(reply, JobId), reply
        return reply.job


class Worker(Connection):
    """A lease belongs to its connection: when that ends, so do they."""

    queue = ""  # which it works for

    def reserve(self, wait_s: float = 0.0) -> Job | None:
        reply = self.call(Reserve(wait_s, queue=self.queue), extra_s=wait_s)
        return Job(*reply[:5]) if isinstance(reply, Reserved) else None

    def ack(self, job: Job) -> None:
        """The job is done. Raises Refused (STALE: the lease was lost), OutcomeUnknown."""
        self.call(Ack(job.id, job.token))

    def fail(self, job: Job) -> None:
        """The job did not work out; it will be tried again, up to the limit."""
        self.call(Fail(job.id, job.token))

    def touch(self, job: Job) -> None:
        """Renew the lease."""
        self.call(Touch(job.id, job.token))

    def release(self, job: Job) -> None:
        """Give the job back as if it had not been taken: it costs no attempt."""
        self.call(Release(job.id, job.token))

    def run(self, handler: Callable[[Job], object], *, stop: Callable[[], bool] = lambda: False,
            max_runtime_s: float = 3600.0,
            on_problem: Callable[[Job, Exception], object] = lambda job, problem: None) -> None:
        """Work until `stop()`, which is asked between jobs. What the handler raises fails the job.

        The lease is renewed while the handler runs, for at most `max_runtime_s`: a heartbeat is
        not progress. A job whose lease was lost is reported and left to its next holder.
        """
        while not stop():
            job = self.reserve(wait_s=1.0)
            if job is None:
                continue
            try:
                with _Renewal(self, job, max_runtime_s):
                    handler(job)
            except Exception as problem:
                settle = self.fail
                on_problem(job, problem)
            else:
                settle = self.ack
            try:
                settle(job)
            except Refused as problem:
                on_problem(job, problem)


class _Renewal:
    """A thread that renews one lease three times in its length."""

    def __init__(self, worker: Worker, job: Job, max_runtime_s: float):
        self.worker, self.job = worker, job
        self.until = time.monotonic() + max_runtime_s
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        while not self.over.wait(self.job.lease_s / 3) and time.monotonic() < self.until:
            try:
                self.worker.touch(self.job)
            except (Refused, OutcomeUnknown):
                return  # the lease is lost; settling the job will tell

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.thread.join()
