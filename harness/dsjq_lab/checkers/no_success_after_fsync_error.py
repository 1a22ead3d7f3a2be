"""After a failed fsync nobody knows what is on the disk, and a second one that succeeds does not tell.

The system may drop what it could not write and mark it as clean: the next fsync has nothing left to do, and
reports success (PostgreSQL met this in 2018). So whoever asked after the last good sync had returned and
before one failed, and still waits, must not be answered with success. Only what certainly changes something
is looked at: the first SUBMIT of a job, an ACK or FAIL that counted.
"""

from collections.abc import Iterator

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, FailedSync
from dsjq_lab.verdict import Verdict


class NoSuccessAfterFsyncError(Checker):
    name = "no_success_after_fsync_error"
    rule = "Whoever waited for a fsync that failed is not answered with success."

    def check(self, model: Model) -> Verdict:
        if not model.failed_syncs:
            return self.not_applicable("no fsync failed")
        if not model.header.durable:
            return self.not_applicable("this broker promises nothing of its disk")
        findings = [
            _trusted(sync, nonce, call)
            for nonce, call in _successes(model)
            for sync in model.failed_syncs
            if sync.covers_from_ns < call.invoked_ns < sync.failed_ns < call.returned_ns
        ]
        return self.judged(findings, f"{some(len(model.failed_syncs), 'failed fsync')}, nothing built on it")


def _successes(model: Model) -> Iterator[tuple[str, Call]]:
    """(nonce, call) of what changed something for certain: to say it twice needs no sync."""
    for job in model.jobs.values():
        if job.submits[0].outcome == "ok":
            yield job.nonce, job.submits[0]
        for delivery in job.deliveries:
            if delivery.accepted:
                yield job.nonce, delivery.accepted
            for call in delivery.settles:
                if call.f == "fail" and call.outcome == "ok":
                    yield job.nonce, call


def _trusted(sync: FailedSync, nonce: str, call: Call) -> Finding:
    summary = f"job {nonce}: {call.f.upper()} of {call.process} answered with success, and its fsync failed"
    return Finding(summary, nonce, (*sync.ops, *call.ops))
