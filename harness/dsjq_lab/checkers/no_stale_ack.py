"""Whoever lost a job to another cannot finish it any more: that other may be in the middle of it.

The zombie is the classic case: a worker hangs beyond its lease, its job is given on, it wakes up and says
"done". Accepting that ends the job under the hands of its new holder. The order must be certain: the second
delivery was asked for after the first had returned, and had itself returned before the ACK was sent. What the
second holder did since is of no interest: the first one's right did not come back.
"""

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery
from dsjq_lab.verdict import Verdict


class NoStaleAck(Checker):
    name = "no_stale_ack"
    rule = "The ACK of a worker whose job has been given to another is not answered OK."

    def check(self, model: Model) -> Verdict:
        findings = []
        passed_on = 0
        for job in model.jobs.values():
            if len(job.deliveries) > 1:
                passed_on += 1
                findings += [found for copy in job.copies if (found := _first_stale(copy))][:1]
        return self.judged(findings, f"{some(passed_on, 'job')} given on, none finished by a former holder")


def _first_stale(copy: list[Delivery]) -> Finding | None:
    for place, former in enumerate(copy):
        if (ack := former.accepted) and (newer := _given_on(copy, place, ack)):
            summary = f"job {former.nonce} of {newer.call.process}: ACK of {ack.process} answered OK"
            return Finding(summary, former.nonce, former.call.ops + newer.call.ops + ack.ops)
    return None


def _given_on(copy: list[Delivery], place: int, ack: Call) -> Delivery | None:
    """The deliveries come in the order of their return, so few are passed over: those asked for too early."""
    former = copy[place]
    for later in range(place + 1, len(copy)):
        newer = copy[later]
        if newer.returned_ns >= ack.invoked_ns:
            return None
        if newer.invoked_ns > former.returned_ns and newer.holder != former.holder:
            return newer
    return None
