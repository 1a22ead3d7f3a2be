"""The more urgent job goes first: but for one delivery in ten, which is the turn of the oldest.

While a job certainly waited for its first delivery, some deliveries were certainly made, and others may have
been. Of all these every tenth, rounded up, may have been the oldest's turn. If more of them certainly went to
jobs that are less urgent, it was overtaken. (A policy: docs/decisions/010.)
"""

from bisect import bisect_left, bisect_right

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.checkers.no_starvation import OLDEST_TURN, Wait, first_wait, lost_meanwhile
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict


class UrgentFirst(Checker):
    name = "urgent_first"
    rule = "While an urgent job waits, at most one of ten deliveries goes to one that is less urgent."

    def check(self, model: Model) -> Verdict:
        if not model.has_tokens:
            return self.not_applicable("a broker without tokens has no priorities")
        if len({job.priority for job in model.jobs.values()}) < 2:
            return self.not_applicable("all jobs had the same priority")
        waits = [wait for job in model.jobs.values() if (wait := first_wait(job, model))]
        deliveries = _Deliveries(model)
        findings = [found for wait in waits if (found := _overtaken(wait, deliveries, model))]
        return self.judged(findings, f"{some(len(waits), 'job')}, none was overtaken too often")


class _Deliveries:
    """When they were asked for and read, by the priority of their job; all sorted."""

    def __init__(self, model: Model) -> None:
        self.invoked_ns: dict[int, list[int]] = {}
        self.returned_ns: dict[int, list[int]] = {}
        for job in model.jobs.values():
            self.invoked_ns.setdefault(job.priority, []).extend(d.invoked_ns for d in job.deliveries)
            self.returned_ns.setdefault(job.priority, []).extend(d.returned_ns for d in job.deliveries)
        for times in (*self.invoked_ns.values(), *self.returned_ns.values()):
            times.sort()

    def certainly(self, wait: Wait) -> int:
        """How many of less urgent jobs, at least, were made while it waited."""
        return sum(
            max(0, bisect_left(returned_ns, wait.delivery.invoked_ns) - bisect_right(
                self.invoked_ns[priority], wait.since_ns))
            for priority, returned_ns in self.returned_ns.items() if priority > wait.job.priority
        )  # fmt: skip

    def possibly(self, wait: Wait) -> int:
        """How many of all, its own left out, at most."""
        begun = sum(bisect_left(times, wait.delivery.returned_ns) for times in self.invoked_ns.values())
        over = sum(bisect_left(times, wait.since_ns) for times in self.returned_ns.values())
        return begun - over - 1


def _overtaken(wait: Wait, deliveries: _Deliveries, model: Model) -> Finding | None:
    less_urgent = deliveries.certainly(wait)
    if less_urgent < 2:  # one may always have been the oldest's turn
        return None
    possible = deliveries.possibly(wait) + lost_meanwhile(wait, model)
    turns = -(-possible // OLDEST_TURN)
    if less_urgent <= turns:
        return None
    nonce, urgency = wait.job.nonce, wait.job.priority
    summary = f"job {nonce} (priority {urgency}) waited while {less_urgent} less urgent ones were delivered"
    return Finding(summary, nonce, wait.job.submits[0].ops + wait.delivery.call.ops)
