"""A key makes it safe to ask again: whoever did not hear the answer submits once more, and there is one job.

Two ids for one key are two jobs, whether the ids were told to the producer or to workers. The other way
round, a broker must know its own job again: `KEY_CONFLICT` is for another payload only. A key lives as long
as its job, and a finished one is forgotten when many others have been finished: then the key is free.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Keyed
from dsjq_lab.verdict import Verdict

REMEMBERED = 10_000  # finished jobs (docs/protocol.md)


class Deduplicated(Checker):
    name = "deduplicated"
    rule = "What is submitted again with the same key and payload is the same job."

    def check(self, model: Model) -> Verdict:
        if not model.keyed:
            return self.not_applicable("no job was submitted with a key")
        acks = [ack for job in model.jobs.values() for ack in job.acks if ack.outcome != "fail"]
        finished = _Finished(acks)
        findings = []
        for key, submits in model.keyed.items():
            found = _two_jobs(key, submits, finished, model) or _conflict(key, submits)
            findings += [found] if found else []
        again = sum(len(submits) - 1 for submits in model.keyed.values())
        return self.judged(findings, f"{some(len(model.keyed), 'key')}, {again} used again, one job each")


class _Finished:
    """How many jobs may have been finished at a time."""

    def __init__(self, acks: list[Call]) -> None:
        self.invoked_ns = sorted(ack.invoked_ns for ack in acks)
        self.returned_ns = sorted(ack.returned_ns for ack in acks)

    def between(self, since_ns: float, until_ns: float) -> int:
        return bisect_right(self.invoked_ns, until_ns) - bisect_left(self.returned_ns, since_ns)


def _two_jobs(key: str, submits: list[Keyed], finished: _Finished, model: Model) -> Finding | None:
    first: dict[int, tuple[str, Call]] = {}  # memory of the broker -> the id that it gave
    since_ns = submits[0].call.invoked_ns
    for id, memory, call in _told(submits, model):
        if memory is None:
            continue
        known, told = first.setdefault(memory, (id, call))
        if id != known and finished.between(since_ns, call.returned_ns) < REMEMBERED:
            summary = f"key {key} made two jobs: {known} and {id}"
            return Finding(summary, submits[0].nonce, told.ops + call.ops)
    return None


def _told(submits: list[Keyed], model: Model) -> Iterator[tuple[str, int | None, Call]]:
    """(id, memory of the broker, call) of all that is known of this key's job."""
    for submit in submits:
        if submit.id is not None:
            yield submit.id, model.memory(model.incarnation(submit.call)), submit.call
    for nonce in {submit.nonce for submit in submits}:
        job = model.jobs[nonce]
        if len(job.submits) == sum(submit.nonce == nonce for submit in submits):  # never without the key
            for delivery in job.deliveries:
                yield delivery.id, model.memory(delivery.incarnation), delivery.call


def _conflict(key: str, submits: list[Keyed]) -> Finding | None:
    for refused in submits:
        others = (submit for submit in submits if submit.payload != refused.payload)
        if "KEY_CONFLICT" in (refused.error or "") and all(other.call.outcome == "fail" for other in others):
            summary = f"key {key}: refused as a conflict, and there was no other payload"
            return Finding(summary, refused.nonce, submits[0].call.ops + refused.call.ops)
    return None
