"""A job that fails again and again is put aside at the limit: not before, not after, and not if it is done.

Attempts are counted twice over. The *certain* ones are the deliveries that somebody read: more of them than
the limit, and the job was tried too often. The *possible* ones are those and every request whose reply was
lost while the job existed: fewer of them than the limit, and it was given up too early. Each kick that may
have counted gives a job as many attempts again. What was released does not count: by its worker with RELEASE,
or by a broker that was told to stop and took back what was in flight.
"""

from collections import Counter
from collections.abc import Iterator

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery, Job, Listing
from dsjq_lab.verdict import Verdict


class DeadLetterAtLimit(Checker):
    name = "dead_letter_at_limit"
    rule = "A job is dead when its attempts have reached the limit, and only then; no finished job is."

    def check(self, model: Model) -> Verdict:
        limit = model.header.max_attempts
        if limit is None:
            return self.not_applicable("this broker was not told a limit of attempts")
        findings: dict[str, Finding] = {}
        for found in (*_too_often(model, limit), *_wrongly_dead(model, limit)):
            findings.setdefault(found.job or "", found)
        dead = {nonce for listing in model.listings for _, nonce in listing.jobs}
        told = f"{len(dead)} dead, at the limit of {some(limit, 'attempt')}"
        return self.judged(list(findings.values()), told)


def _too_often(model: Model, limit: int) -> Iterator[Finding]:
    kicks = Counter(nonce for nonce, _ in model.kicks)
    for job in model.jobs.values():
        allowed = limit * (1 + kicks[job.nonce])
        if len(job.deliveries) <= allowed:
            continue
        attempts: dict[tuple[int, str], list[Delivery]] = {}
        for delivery in job.deliveries:
            count = model.count(delivery)
            if count is not None and not _may_be_free(delivery, model):
                attempts.setdefault((count, delivery.id), []).append(delivery)
        for tried in attempts.values():
            if len(tried) > allowed:
                summary = f"job {job.nonce} delivered {len(tried)} times, and the limit is {allowed}"
                yield Finding(summary, job.nonce, tuple(op for delivery in tried for op in delivery.call.ops))


def _may_be_free(delivery: Delivery, model: Model) -> bool:
    if any(call.f == "release" and call.outcome != "fail" for call in delivery.settles):
        return True
    for death in model.deaths[model.life(delivery.invoked_ns) :][:1]:
        ended = any(c.f != "touch" and c.returned_ns < death.begin_ns for c in delivery.settles)
        return death.polite and not ended and delivery.lapsed_ns > death.begin_ns
    return False


def _wrongly_dead(model: Model, limit: int) -> Iterator[Finding]:
    for listing in model.listings:
        for id, nonce in listing.jobs:
            if job := model.jobs.get(nonce):
                attempts = model.possible_attempts(job, listing.call.returned_ns)
                tried = tuple(op for delivery in job.deliveries for op in delivery.call.ops)
                if attempts < limit:
                    summary = f"job {nonce} dead after {some(attempts, 'attempt')}, and the limit is {limit}"
                    yield Finding(summary, nonce, tried + listing.call.ops)
                elif ack := _done_before(job, id, listing, model):
                    summary = f"job {nonce} was done, then listed as dead"
                    yield Finding(summary, nonce, ack.ops + listing.call.ops)


def _done_before(job: Job, id: str, listing: Listing, model: Model) -> Call | None:
    """As far as the broker can remember: what it forgot with its memory is another rule's business."""
    memory = model.memory(model.incarnation(listing.call))
    for delivery in job.deliveries:
        known = delivery.id == id and model.memory(delivery.incarnation) == memory
        ack = delivery.accepted if known else None
        if ack and memory is not None and ack.returned_ns < listing.call.invoked_ns:
            return ack
    return None
