"""A snapshot is a shorter history with the same end: legal records, all but the last.

A job is brought to where it is along edges of TRANSITIONS, without the detours that it really took. What is
then still missing are the totals, which count the detours as well.
"""
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from .. import messages as m
from ..lifecycle import DEAD, DELAYED, DONE, EFFECTS, FAILED, PENDING, Job, Queue
from .routing import topology


class Totals(NamedTuple):
    """The last of a snapshot."""

    submitted: int
    deliveries: int
    requeued: int
    done: int


def snapshot(queue: Queue) -> Iterator[Any]:
    """What an empty queue becomes equal to `queue` by, when it is applied."""
    yield from topology(queue)
    for job in chain(queue.finished.values(), queue.jobs.values()):
        yield from _life(job)
    yield Totals(queue.submitted, queue.deliveries, queue.requeued, queue.counts[DONE])


def _count_on(queue: Queue, job: None, totals: Totals) -> None:
    queue.submitted, queue.deliveries, queue.requeued, queue.counts[DONE] = totals


EFFECTS[Totals] = _count_on


def _life(job: Job) -> Iterator[m.Record]:
    id, kind, start_at = job.id, m.Submitted, 0.0
    if job.state == DELAYED:
        kind, start_at = m.Delayed, job.due
    yield kind(id, job.payload, start_at, job.priority, job.lease_s, job.max_attempts, job.key,
               job.queue)
    if job.free:  # attempts that do not count are those before a kick
        yield m.Delivered(id, job.holder, job.token, job.due, job.free)
        yield m.Died(id, "snapshot")
        yield m.Kicked(id)
    if job.attempts > job.free:
        yield m.Delivered(id, job.holder, job.token, job.due, job.attempts)
        if job.state == PENDING:
            yield m.Requeued(id, "snapshot")
        elif job.state == FAILED:
            yield m.Failed(id, job.due)
        elif job.state == DONE:
            yield m.Acked(id)
        elif job.state == DEAD:
            yield m.Died(id, "snapshot")
