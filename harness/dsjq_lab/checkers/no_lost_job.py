"""A JOB_ID is a promise: from then on the job is in the broker's hands until somebody confirms it.

Having been delivered is not enough. A broker that forgets a job as it hands it out (pop and die) loses it
with the worker, so only an ACK, or the list of dead jobs, accounts for a job. An ACK whose reply was lost may
have counted, and excuses the broker.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import Job
from dsjq_lab.verdict import Verdict


class NoLostJob(Checker):
    name = "no_lost_job"
    rule = (
        "Once the broker has confirmed a job, the job is not gone until it is acknowledged or listed as dead."
    )

    def check(self, model: Model) -> Verdict:
        missing = model.unaccounted()
        if model.end is None:
            return self.unknown("the history has no end")
        if missing and not model.end.drained:
            return self.unknown(f"did not drain: {len(missing)} jobs still open ({model.end.why})")
        if missing and model.dead_unseen > 0:
            return self.unknown(f"{len(missing)} jobs missing, but {model.dead_unseen} dead were not listed")
        confirmed = sum(job.acknowledged for job in model.jobs.values())
        return self.judged([_lost(job) for job in missing], f"{confirmed} of {confirmed} accounted for")


def _lost(job: Job) -> Finding:
    confirmed = next(submit for submit in job.submits if submit.outcome == "ok")
    times = (
        f"delivered {len(job.deliveries)} times, never acknowledged" if job.deliveries else "never delivered"
    )
    ops = confirmed.ops + tuple(op for delivery in job.deliveries for op in delivery.call.ops)
    return Finding(f"job {job.nonce} was confirmed, then lost: {times}", job.nonce, ops)
