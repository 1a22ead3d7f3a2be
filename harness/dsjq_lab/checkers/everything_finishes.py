"""Once the faults are over, everything finishes: a queue that never does wrong may still do nothing.

The clock starts when the last fault is healed and the last job confirmed. A broker that by then serves nobody
any more, and confirms nothing, breaks the rule as well. Slowness can be anybody's fault,
so the broker is accused only if the lab's own side was in order: its workers alive and asking, its canary on
time.
"""

import math

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
        buried = model.buried()
        owed = [job for job in model.jobs.values() if job.acknowledged and job.nonce not in buried]
        calm_ns = max([model.calm_ns, *(job.confirmed_ns for job in owed)])
        deadline_ns = calm_ns + allowed_ns + end.epsilon_ns
        findings = [_unfinished(job, allowed_ns) for job in owed if job.finished_ns > deadline_ns]
        findings += _silence(model, end)
        if findings and (why := _excuse(end, calm_ns + allowed_ns, model.dead_unseen)):
            return self.unknown(f"{findings[0].summary}, but {why}")
        took_ns = max([0, *(job.finished_ns - calm_ns for job in owed if job.finished_ns < math.inf)])
        took = f"{_seconds(took_ns)} after the last submit and fault, of {_seconds(allowed_ns)}"
        return self.judged(findings, took)


def _excuse(end: End, deadline_ns: float, dead_unseen: int) -> str:
    if not end.healthy:
        return f"the lab's own side failed: {end.why}"
    if not end.drained and not end.decided and end.time_ns < deadline_ns:
        return f"the run was ended before its time: {end.why}"
    return f"{dead_unseen} dead were not listed" if dead_unseen > 0 else ""


def _unfinished(job: Job, allowed_ns: int) -> Finding:
    ops = job.submits[0].ops + tuple(op for delivery in job.deliveries[-1:] for op in delivery.call.ops)
    return Finding(f"job {job.nonce} neither done nor dead after {_seconds(allowed_ns)}", job.nonce, ops)


def _silence(model: Model, end: End) -> list[Finding]:
    """Nothing is owed by a broker that never confirms a job; but it was asked, and answered nobody."""
    asked, calm_ns = model.last_question, model.calm_ns
    if end.drained or asked is None or asked.time_ns < calm_ns or model.answered_ns >= calm_ns:
        return []
    return [Finding(f"{asked.process} asked {asked.f.upper()}, and nobody was served", None, (asked.index,))]


def _seconds(ns: float) -> str:
    return f"{ns / 1e9:.1f} s"
