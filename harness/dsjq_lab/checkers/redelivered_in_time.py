"""A job that its holder has lost goes to the next worker that asks; a broker must notice, and in time.

What is judged is an answer: EMPTY, to a request that was sent when the job was certainly back in the queue.
By then its holder had given it back, or was gone, or had let its lease lapse, and whatever grace the broker
has for noticing was over (the model's `back_ns`). So slowness of workers or of the machine accuses nobody.

Excused is whatever else may explain the answer: that the job was given to another (also to one who never
heard so), that an ACK of it may have counted, that its attempts were used up, or that the broker had died.
The last excuses no broker that is durable: what it had confirmed is back soon after it is.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate, zip_longest

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery, Job
from dsjq_lab.verdict import Verdict


class RedeliveredInTime(Checker):
    name = "redelivered_in_time"
    rule = "When a worker has lost a job or given it back, the broker soon gives it to the next that asks."

    def check(self, model: Model) -> Verdict:
        answers = _Empties(model)
        came_back = [job for job in model.jobs.values() if job.is_single and _came_back(job)]
        findings = [found for job in came_back if (found := _withheld(job, answers, model))]
        again = sum(len(job.deliveries) - 1 for job in model.jobs.values() if job.deliveries)
        return self.judged(findings, f"{some(again, 'redelivery', 'redeliveries')}, no job was withheld")


class _Empties:
    """All answers EMPTY that no request whose reply was lost can explain, in the order of invocation."""

    def __init__(self, model: Model) -> None:
        lost_ns = [request.invoked_ns for request in model.lost_requests]
        over_ns = [0.0, *accumulate((request.over_ns for request in model.lost_requests), max)]
        calls = [
            call
            for call in model.empties
            if over_ns[bisect_left(lost_ns, call.returned_ns)] < call.invoked_ns
            and not any(
                call.invoked_ns <= death.until_ns + model.slack_ns and call.returned_ns >= death.begin_ns
                for death in (model.deaths if model.header.durable else ())  # or has just come back
            )
        ]
        calls.sort(key=lambda call: call.invoked_ns)
        self.invoked_ns = [call.invoked_ns for call in calls]
        # The one that returned first, of those from each place on.
        self.earliest = list(accumulate(reversed(calls), _first_returned))[::-1]

    def first_after(self, time_ns: float) -> Call | None:
        place = bisect_right(self.invoked_ns, time_ns)
        return self.earliest[place] if place < len(self.earliest) else None


def _came_back(job: Job) -> bool:
    return any(delivery.back_ns < job.finished_ns for delivery in job.deliveries)


def _withheld(job: Job, answers: _Empties, model: Model) -> Finding | None:
    limit = model.header.max_attempts
    for last, back_ns, next_ns in _waits(job):
        empty = answers.first_after(back_ns)
        if not empty or not _remembered(job, last, empty, model):
            continue
        buried = next_ns == math.inf and job.nonce in model.dead
        if empty.returned_ns < next_ns and not buried:
            attempts = model.possible_attempts(job, empty.returned_ns)
            if limit is None or attempts < limit:
                return _forgotten(last, empty)
    return None


def _remembered(job: Job, last: Delivery, empty: Call, model: Model) -> bool:
    """Whether the broker that answered must know of the job."""
    if model.header.durable:
        return job.acknowledged
    return last.incarnation is not None and empty.returned_ns < model.death_ns(last.incarnation)


def _waits(job: Job) -> Iterator[tuple[Delivery, float, float]]:
    """(the last delivery so far, when all of them were back, when the next, or an ACK, may have counted)"""
    deliveries = sorted(job.deliveries, key=lambda delivery: delivery.invoked_ns)
    back_ns = 0.0
    for last, following in zip_longest(deliveries, deliveries[1:]):
        back_ns = max(back_ns, last.back_ns)
        next_ns = min(following.invoked_ns, job.finished_ns) if following else job.finished_ns
        if back_ns < next_ns:
            yield last, back_ns, next_ns


def _first_returned(a: Call, b: Call) -> Call:
    return a if a.returned_ns < b.returned_ns else b


def _forgotten(last: Delivery, empty: Call) -> Finding:
    until_then = [call for call in last.settles if call.invoked_ns < empty.returned_ns]
    settles = tuple(op for call in until_then for op in call.ops)
    summary = f"{empty.process} was told EMPTY while job {last.nonce} had come back from {last.call.process}"
    return Finding(summary, last.nonce, last.call.ops + settles + empty.ops)
