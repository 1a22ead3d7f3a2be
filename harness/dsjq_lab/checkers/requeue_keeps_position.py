"""A job that comes back waits where it waited before: no younger one of its priority goes first. (A policy.)

Certain is: `a` was back in the queue (the model's `back_ns`) when the request was sent that was answered with
`b`, and that answer had arrived before the request was sent that brought `a` its next attempt; `b` was
submitted after `a`, and this was its first attempt. The attempts, which come with tokens, say that nobody
else had `a` meanwhile.

To look at every pair would take too long. A wait of `a` and a delivery of `b` are intervals of time, and the
question is: of all deliveries inside the wait, which job was submitted last? A staircase answers it.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery, Job
from dsjq_lab.verdict import Verdict


class RequeueKeepsPosition(Checker):
    name = "requeue_keeps_position"
    rule = "A job that comes back is delivered before those of its priority that were submitted after it."

    def check(self, model: Model) -> Verdict:
        if not model.has_tokens:
            return self.not_applicable("a broker without tokens may put a job that comes back where it likes")
        kicked = {nonce for nonce, _ in model.kicks}  # these may have waited among the dead
        returned = [job for job in model.jobs.values() if len(job.deliveries) > 1 and job.nonce not in kicked]
        waits = [wait for job in returned for wait in _waits(job)]
        findings: dict[str, Finding] = {}
        if waits:
            others = [job for job in model.jobs.values() if _is_plain(job)]
            for priority in {wait.job.priority for wait in waits}:
                peers = [job for job in others if job.priority == priority]
                for found in _overtaken([wait for wait in waits if wait.job.priority == priority], peers):
                    findings.setdefault(found.job or "", found)
        told = f"{some(len(waits), 'job')} came back, none was overtaken"
        return self.judged(list(findings.values()), told)


class _Wait(NamedTuple):
    job: Job
    last: Delivery
    next: Delivery


def _is_plain(job: Job) -> bool:
    return job.is_single and not job.delay_ns and bool(job.deliveries) and job.deliveries[0].attempt == 1


def _waits(job: Job) -> Iterator[_Wait]:
    """When it certainly waited for its next attempt, in one life of the broker."""
    if not job.is_single or not job.acknowledged or job.delay_ns:
        return
    deliveries = sorted(job.deliveries, key=lambda delivery: delivery.attempt or 0)
    for last, following in pairwise(deliveries):
        is_next = last.attempt is not None and following.attempt == last.attempt + 1
        same_life = last.incarnation is not None and last.incarnation == following.incarnation
        if is_next and same_life and last.back_ns < following.invoked_ns:
            yield _Wait(job, last, following)


def _overtaken(waits: list[_Wait], others: list[Job]) -> Iterator[Finding]:
    others.sort(key=lambda job: job.deliveries[0].returned_ns)
    stairs = _Staircase()
    place = 0
    for wait in sorted(waits, key=lambda wait: wait.next.invoked_ns):
        while place < len(others) and others[place].deliveries[0].returned_ns < wait.next.invoked_ns:
            stairs.add(others[place])
            place += 1
        b = stairs.youngest_after(wait.last.back_ns)
        if b and b.submits[0].invoked_ns > wait.job.confirmed_ns:
            first, nonce = b.deliveries[0], wait.job.nonce
            summary = f"job {nonce} had come back, and job {b.nonce}, submitted after it, was delivered first"
            settles = tuple(op for call in wait.last.settles for op in call.ops)
            ops = wait.last.call.ops + settles + first.call.ops + wait.next.call.ops
            yield Finding(summary, nonce, ops)


class _Staircase:
    """Jobs by when their first delivery was asked for. Of those asked for after a moment, which was submitted
    last? One that was asked for and submitted earlier than another is never the answer, and is left out.
    """

    def __init__(self) -> None:
        self.asked_ns: list[int] = []  # rising
        self.jobs: list[Job] = []  # their submission falling

    def add(self, job: Job) -> None:
        asked_ns, submit_ns = job.deliveries[0].invoked_ns, job.submits[0].invoked_ns
        end = bisect_right(self.asked_ns, asked_ns)
        if end < len(self.jobs) and self.jobs[end].submits[0].invoked_ns >= submit_ns:
            return
        start = end
        while start and self.jobs[start - 1].submits[0].invoked_ns <= submit_ns:
            start -= 1
        self.asked_ns[start:end] = [asked_ns]
        self.jobs[start:end] = [job]

    def youngest_after(self, time_ns: float) -> Job | None:
        place = bisect_right(self.asked_ns, time_ns)
        return self.jobs[place] if place < len(self.jobs) else None
