"""First in, first out: of two jobs of one priority that wait for their first delivery, the older goes first.

Both orders must be certain. `a` was submitted before `b` if its SUBMIT had returned before b's was sent; `b`
overtook it if b's delivery had returned before a's was asked for. Two requests under way at the same time may
be answered in either order. A job that comes back is another matter (`requeue_keeps_position`), so only first
attempts count; and what was delayed waits for its time. A broker without tokens does not say which attempt
it is: it is judged only if every job was delivered once, acknowledged in time, and no reply to a request was
lost.
"""

from collections.abc import Iterator
from typing import NamedTuple

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery, Job
from dsjq_lab.verdict import Verdict


class Fifo(Checker):
    name = "fifo"
    rule = "Jobs of one priority are delivered for the first time in the order in which they were submitted."

    def check(self, model: Model) -> Verdict:
        if not model.has_tokens and (why := _no_order(model)):
            return self.not_applicable(f"no tokens to tell first attempts by, and {why}")
        firsts = [first for job in model.jobs.values() if (first := _first(job))]
        return self.judged(list(_overtaken(firsts)), f"{some(len(firsts), 'job')} delivered in order")


class _First(NamedTuple):
    job: Job
    delivery: Delivery
    submit: Call

    @property
    def peers(self) -> tuple[int | None, int]:
        return self.delivery.incarnation, self.job.priority


def _first(job: Job) -> _First | None:
    """The first delivery, if it is certain that it was the first, and of which SUBMIT."""
    if not job.is_single or not job.deliveries or job.delay_ns:
        return None
    delivery = job.deliveries[0]
    submit = next((submit for submit in job.submits if submit.outcome != "fail"), None)
    if submit is None or delivery.attempt not in (1, None) or delivery.incarnation is None:
        return None
    return _First(job, delivery, submit)


def _overtaken(firsts: list[_First]) -> Iterator[Finding]:
    """For each job, of all that were certainly submitted before it, the one that was asked for last."""
    by_confirmed = iter(sorted(firsts, key=lambda first: first.job.confirmed_ns))
    earlier = next(by_confirmed, None)
    last: dict[tuple[int | None, int], _First] = {}  # incarnation and priority -> the one asked for last
    for b in sorted(firsts, key=lambda first: first.submit.invoked_ns):
        while earlier and earlier.job.confirmed_ns < b.submit.invoked_ns:
            peers = earlier.peers
            if peers not in last or last[peers].delivery.invoked_ns < earlier.delivery.invoked_ns:
                last[peers] = earlier
            earlier = next(by_confirmed, None)
        a = last.get(b.peers)
        if a and b.delivery.returned_ns < a.delivery.invoked_ns:
            summary = f"job {b.job.nonce} was delivered before job {a.job.nonce}, and submitted after it"
            ops = a.submit.ops + b.submit.ops + b.delivery.call.ops + a.delivery.call.ops
            yield Finding(summary, a.job.nonce, ops)


def _no_order(model: Model) -> str:
    """Why a first attempt cannot be told from a later one; empty if it can."""
    if model.lost_requests:
        return "a request had no reply"
    for job in model.jobs.values():
        for delivery in job.deliveries:
            if any(call.f == "fail" and call.outcome != "fail" for call in delivery.settles):
                return "a job was given back with FAIL"
            ack = delivery.accepted
            if not ack or ack.invoked_ns > delivery.held_until_ns:
                return "a worker lost a job"
    return ""
