"""A lease is a lock with an end: while it certainly runs, nobody else gets the job.

At-least-once allows a second delivery, but only after the first holder has lost the job: by its time-out, by
the end of its connection, by its own ACK or FAIL. The model's hold [returned, held until) counts only the
time in which none of these can have happened, so two holds that overlap cannot be explained away.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery
from dsjq_lab.verdict import Verdict


class ExclusiveLease(Checker):
    name = "exclusive_lease"
    rule = "While one worker holds the lease of a job, the job is given to nobody."

    def check(self, model: Model) -> Verdict:
        findings = []
        leases = 0
        for job in model.jobs.values():
            leases += len(job.deliveries)
            for copy in job.copies:
                if pair := _first_overlap(copy):
                    findings.append(_clash(*pair))
                    break
        return self.judged(findings, f"{leases} leases, no two at once")


def _first_overlap(copy: list[Delivery]) -> tuple[Delivery, Delivery] | None:
    """The holds come in the order of their starts, so it suffices to remember which lasts longest."""
    longest: Delivery | None = None
    for delivery in copy:
        if delivery.held_until_ns <= delivery.returned_ns:
            continue
        if longest and delivery.returned_ns < longest.held_until_ns:
            return longest, delivery
        if longest is None or delivery.held_until_ns > longest.held_until_ns:
            longest = delivery
    return None


def _clash(first: Delivery, second: Delivery) -> Finding:
    one, other = first.call, second.call
    whom = (
        f"{one.process} and {other.process} at once"
        if one.process != other.process
        else f"{one.process} twice"
    )
    return Finding(f"job {first.nonce} held by {whom}", first.nonce, one.ops + other.ops)
