"""A queue invents nothing: what comes out was put in, and what was refused stays out.

A SUBMIT of unknown outcome may have happened, so its job may come. One that was refused did not happen, and
that is what a refusal is for: the producer may try again without making a second job.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery
from dsjq_lab.verdict import Verdict


class NoUnexpectedJob(Checker):
    name = "no_unexpected_job"
    rule = "The broker delivers only jobs that were submitted and not refused."

    def check(self, model: Model) -> Verdict:
        findings = [_unexpected(stray, "was never submitted") for stray in model.strays]
        for job in model.jobs.values():
            if job.deliveries and all(submit.outcome == "fail" for submit in job.submits):
                refusals = tuple(op for submit in job.submits for op in submit.ops)
                findings.append(_unexpected(job.deliveries[0], "was refused", refusals))
        return self.judged(findings, "every job delivered had been submitted")


def _unexpected(delivery: Delivery, why: str, ops: tuple[int, ...] = ()) -> Finding:
    summary = f"job {delivery.nonce} {why}, and delivered to {delivery.call.process}"
    return Finding(summary, delivery.nonce, ops + delivery.call.ops)
