"""A payload is none of the broker's business: it comes out to the byte as it went in.

Brokers that split lines at every space, strip them, or cut them at the end of a buffer are caught here, as
long as the first word survives. If even that is gone, it is a job nobody submitted (`no_unexpected_job`).
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery, Job
from dsjq_lab.verdict import Verdict


class PayloadIntact(Checker):
    name = "payload_intact"
    rule = "A job is delivered with exactly the payload that was submitted."

    def check(self, model: Model) -> Verdict:
        findings = []
        for job in model.jobs.values():
            changed = next((d for d in job.deliveries if d.payload != job.payload), None)
            if changed:
                findings.append(_changed(job, changed))
        return self.judged(findings, "every payload came out as it went in")


def _changed(job: Job, delivery: Delivery) -> Finding:
    summary = f"job {job.nonce}: submitted {_quoted(job.payload)}, delivered {_quoted(delivery.payload)}"
    submitted = job.submits[0].ops if job.submits else ()
    return Finding(summary, job.nonce, submitted + delivery.call.ops)


def _quoted(payload: str) -> str:
    """Short enough for one line, with control characters made visible."""
    return repr(payload) if len(payload) <= 24 else f"{payload[:16]!r}... ({len(payload)} characters)"
