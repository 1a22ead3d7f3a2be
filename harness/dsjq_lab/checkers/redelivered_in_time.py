"""A job that its holder has lost goes to the next worker that asks; a broker must notice, and in time.

What is judged is an answer: EMPTY, to a request that was sent when the job was certainly back in the queue.
By then its holder had given it back, or was gone, or had let its lease lapse, and whatever grace the broker
has for noticing was over (the model's `back_ns`). So slowness of workers or of the machine accuses nobody.

Excused is whatever else may explain the answer: that the job was given to another (also to one who never
heard so), that an ACK of it may have counted, that its attempts were used up, or that the broker had died.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery, Job
from dsjq_lab.verdict import Verdict


class RedeliveredInTime(Checker):
    name = "redelivered_in_time"
    rule = "When a worker has lost a job or given it back, the broker soon gives it to the next that asks."

    def check(self, model: Model) -> Verdict:
        answers = _Empties(model)
        findings = []
        returned = 0
        for job in model.jobs.values():
            lost = [delivery for delivery in job.deliveries if delivery.back_ns < math.inf]
            returned += len(lost)
            if lost and job.is_single and (found := _withheld(job, answers, model)):
                findings.append(found)
        return self.judged(findings, f"{returned} deliveries ended without an ACK, none was forgotten")


class _Empties:
    """All answers EMPTY that no request whose reply was lost can explain, in the order of invocation."""

    def __init__(self, model: Model) -> None:
        lost_ns = [request.invoked_ns for request in model.lost_requests]
        over_ns = [0.0, *accumulate((request.over_ns for request in model.lost_requests), max)]
        calls = [
            call
            for call in model.empties
            if over_ns[bisect_left(lost_ns, call.returned_ns)] < call.invoked_ns
        ]
        calls.sort(key=lambda call: call.invoked_ns)
        self.invoked_ns = [call.invoked_ns for call in calls]
        # The one that returned first, of those from each place on.
        self.earliest = list(accumulate(reversed(calls), _first_returned))[::-1]

    def first_after(self, time_ns: float) -> Call | None:
        place = bisect_right(self.invoked_ns, time_ns)
        return self.earliest[place] if place < len(self.earliest) else None


def _withheld(job: Job, answers: _Empties, model: Model) -> Finding | None:
    limit = model.header.max_attempts or math.inf
    submitted_ns = job.submits[0].invoked_ns
    acked_ns = min((ack.invoked_ns for ack in job.acks if ack.outcome != "fail"), default=math.inf)
    for attempts, last, back_ns, next_ns in _waits(job):
        empty = answers.first_after(back_ns)
        if empty is None or last.incarnation is None:
            continue
        if empty.returned_ns >= min(next_ns, acked_ns, model.death_ns(last.incarnation)):
            continue
        attempts += model.possible_deliveries(submitted_ns, empty.returned_ns)
        if attempts < limit and not (next_ns == math.inf and job.nonce in model.dead):
            return _forgotten(last, empty)
    return None


def _waits(job: Job) -> Iterator[tuple[int, Delivery, float, float]]:
    """(attempts so far, the last, when all of them were back, when the next may have been made)"""
    deliveries = sorted(job.deliveries, key=lambda delivery: delivery.invoked_ns)
    back_ns = 0.0
    for place, last in enumerate(deliveries):
        back_ns = max(back_ns, last.back_ns)
        following = deliveries[place + 1].invoked_ns if place + 1 < len(deliveries) else math.inf
        if back_ns < following:
            yield place + 1, last, back_ns, following


def _first_returned(a: Call, b: Call) -> Call:
    return a if a.returned_ns < b.returned_ns else b


def _forgotten(last: Delivery, empty: Call) -> Finding:
    settles = tuple(op for call in last.settles for op in call.ops)
    summary = f"{empty.process} was told EMPTY while job {last.nonce} had come back from {last.call.process}"
    return Finding(summary, last.nonce, last.call.ops + settles + empty.ops)
