"""A snapshot is a shorter history with the same end: legal records, all but the last."""
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from .. import messages as m
from ..lifecycle import DEAD, DONE, FAILED, PENDING, Job, Queue, apply


class Totals(NamedTuple):
    """The last of a snapshot."""

    submitted: int
    deliveries: int
    requeued: int
    done: int


def snapshot(queue: Queue) -> Iterator[m.Record | Totals]:
    """What `restore` makes an empty queue equal to `queue` with."""
    for job in chain(queue.finished.values(), queue.jobs.values()):
        yield from _life(job)
    yield Totals(queue.submitted, queue.deliveries, queue.requeued, queue.counts[DONE])


def restore(queue: Queue, record: m.Record | Totals) -> None:
    """Apply one record of a snapshot, or of what happened since."""
    if isinstance(record, Totals):
        queue.submitted, queue.deliveries, queue.requeued, queue.counts[DONE] = record
    else:
        apply(queue, record)


def _life(job: Job) -> Iterator[m.Record]:
    id = job.id
    yield m.Submitted(id, job.payload)
    for attempt in range(1, job.attempts + 1):
        yield m.Delivered(id, job.holder, job.token, job.due)
        if attempt < job.attempts:
            yield m.Requeued(id, "snapshot")
    if job.attempts and job.state == PENDING:
        yield m.Requeued(id, "snapshot")
    elif job.state == FAILED:
        yield m.Failed(id, job.due)
    elif job.state == DONE:
        yield m.Acked(id)
    elif job.state == DEAD:
        yield m.Died(id, "snapshot")
