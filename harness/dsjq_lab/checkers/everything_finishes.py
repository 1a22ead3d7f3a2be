"""Once the faults are over, everything finishes: a queue that never does wrong may still do nothing.

The clock starts when the last fault is healed and the last job confirmed. Slowness can be anybody's fault,
so the broker is accused only if the lab's own side was in order: its workers alive and asking, its canary on
time.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import End, Job
from dsjq_lab.verdict import Verdict


class EverythingFinishes(Checker):
    name = "everything_finishes"
    rule = "After the faults are healed, every confirmed job is done or dead before long."

    def check(self, model: Model) -> Verdict:
        end = model.end
        if end is None:
            return self.unknown("the history has no end")
        allowed_ns = model.header.finish_within_ns
        owed = [job for job in model.jobs.values() if job.acknowledged and job.nonce not in model.dead]
        calm_ns = max([model.calm_ns, *(_confirmed_ns(job) for job in owed)])
        deadline_ns = calm_ns + allowed_ns + end.epsilon_ns
        finished_ns = [_finished_ns(job) for job in owed]
        findings = [
            _unfinished(job, allowed_ns)
            for job, ns in zip(owed, finished_ns, strict=True)
            if ns is None or ns > deadline_ns
        ]
        if findings and (why := _excuse(end, calm_ns + allowed_ns)):
            return self.unknown(f"{len(findings)} jobs not finished, but {why}")
        took_ns = max([0, *(ns - calm_ns for ns in finished_ns if ns is not None)])
        took = f"{_seconds(took_ns)} after the last submit and fault, of {_seconds(allowed_ns)}"
        return self.judged(findings, took)


def _confirmed_ns(job: Job) -> float:
    return min(submit.returned_ns for submit, _ in job.confirmed)


def _finished_ns(job: Job) -> int | None:
    """The earliest moment at which it may have been done: an ACK of unknown outcome may have counted."""
    return min((ack.invoked_ns for ack in job.acks if ack.outcome != "fail"), default=None)


def _excuse(end: End, deadline_ns: float) -> str:
    if not end.healthy:
        return f"the lab's own side failed: {end.why}"
    if not end.drained and not end.decided and end.time_ns < deadline_ns:
        return f"the run was ended before its time: {end.why}"
    return ""


def _unfinished(job: Job, allowed_ns: int) -> Finding:
    ops = job.submits[0].ops + tuple(op for delivery in job.deliveries[-1:] for op in delivery.call.ops)
    return Finding(f"job {job.nonce} neither done nor dead after {_seconds(allowed_ns)}", job.nonce, ops)


def _seconds(ns: float) -> str:
    return f"{ns / 1e9:.1f} s"
