"""A delay is a promise to the producer: nobody gets the job before it is over.

The broker counts from some moment after the question was sent, and the worker reads the job some time after
it was handed out. So a delivery that was read before the invocation of the SUBMIT plus the delay was early by
anybody's reckoning. How late a job comes is not asked here: `everything_finishes` does.
"""

import math

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery, Job
from dsjq_lab.verdict import Verdict


class NotEarly(Checker):
    name = "not_early"
    rule = "A delayed job is not delivered before its delay is over."

    def check(self, model: Model) -> Verdict:
        delayed = [job for job in model.jobs.values() if job.delay_ns]
        if not delayed:
            return self.not_applicable("no job was delayed")
        findings = [found for job in delayed if (found := _early(job))]
        return self.judged(findings, f"{some(len(delayed), 'delayed job')}, none of them early")


def _early(job: Job) -> Finding | None:
    counted = (submit.invoked_ns for submit in job.submits if submit.outcome != "fail")
    submitted_ns = min(counted, default=math.inf)
    for delivery in job.deliveries:
        if delivery.returned_ns < submitted_ns + job.delay_ns:
            return _told(job, delivery, delivery.returned_ns - submitted_ns)
    return None


def _told(job: Job, delivery: Delivery, after_ns: float) -> Finding:
    delay_s, after_s = job.delay_ns / 1e9, after_ns / 1e9
    summary = f"job {job.nonce} delivered after {after_s:.3f} s, and its delay was {delay_s:g} s"
    return Finding(summary, job.nonce, job.submits[0].ops + delivery.call.ops)
