"""The life of a job, as one table and three pure functions.

`decide` reads the state and says what to answer and what to record; `apply` is the only thing
that changes the state, and only along an edge of TRANSITIONS; `due` names the next record that
time alone has brought about. None of them reads a clock, throws dice, or knows of threads: time
is an argument. So every run can be repeated, and recovery is `apply`, again, on what was stored.
"""
import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from . import messages as m

PENDING, IN_FLIGHT, FAILED, DONE, DEAD = "PENDING", "IN_FLIGHT", "FAILED", "DONE", "DEAD"
STATES = (PENDING, IN_FLIGHT, FAILED, DONE, DEAD)

TRANSITIONS: dict[type[Any], tuple[str | None, str]] = {
    # record: (from, to)
    m.Submitted: (None, PENDING),
    m.Delivered: (PENDING, IN_FLIGHT),
    m.Touched: (IN_FLIGHT, IN_FLIGHT),
    m.Acked: (IN_FLIGHT, DONE),
    m.Failed: (IN_FLIGHT, FAILED),  # FAILED is where a job waits for its retry
    m.Retried: (FAILED, PENDING),
    m.Requeued: (IN_FLIGHT, PENDING),  # the connection ended, or the lease did
    m.Died: (IN_FLIGHT, DEAD),  # any bad end, at the limit of attempts
    m.Kicked: (DEAD, PENDING),
}

REMEMBERED = 10_000  # finished jobs that can still be asked about, and acked again by their holder
LISTED = 80  # letters of each payload that a listing shows, lest a page of long ones outgrow a line


class Job:
    """One job. `due` is when its lease ends (IN_FLIGHT) or its retry begins (FAILED)."""

    __slots__ = ("attempts", "due", "holder", "id", "limit", "payload", "position", "state", "token")

    def __init__(self, id: int, payload: bytes, limit: int):
        self.id, self.payload, self.limit = id, payload, limit
        self.state: str | None = None
        self.attempts = 0  # deliveries so far
        self.holder, self.token, self.due = 0, "", 0.0
        self.position = 0  # the broker's: what must be safe before anybody is told of this job


class Queue:
    """The whole state of the broker. Times are seconds on one monotonic clock."""

    def __init__(self, ack_timeout_s: float = 30.0, max_attempts: int = 5, epoch: int = 1):
        self.ack_timeout_s, self.max_attempts, self.epoch = ack_timeout_s, max_attempts, epoch
        self.jobs: dict[int, Job] = {}  # all but DONE
        self.finished: OrderedDict[int, Job] = OrderedDict()  # the last REMEMBERED of DONE
        self.pending: list[int] = []  # heap of ids: a job that comes back keeps its place
        self.timers: list[tuple[float, int]] = []  # heap of (due, id)
        self.held: dict[int, set[int]] = {}  # holder -> ids of its leases
        self.counts = dict.fromkeys(STATES, 0)
        self.submitted = self.deliveries = self.requeued = 0

    def find(self, id: int) -> Job | None:
        return self.jobs.get(id) or self.finished.get(id)


# ---- decide: reads only.


def decide(queue: Queue, command: m.Command, holder: int, now: float) -> tuple[m.Reply, list[m.Record]]:
    """What to answer `holder`, and what to record, for one command at time `now`."""
    return DECISIONS[type(command)](queue, command, holder, now)


Decision = tuple[m.Reply, list[m.Record]]


def _submit(queue: Queue, command: m.Submit, holder: int, now: float) -> Decision:
    id = queue.submitted + 1
    return m.JobId(id), [m.Submitted(id, command.payload)]


def _reserve(queue: Queue, command: m.Reserve, holder: int, now: float) -> Decision:
    if not queue.pending:
        return m.Empty(), []
    job = queue.jobs[queue.pending[0]]
    token = f"{queue.epoch}.{queue.deliveries + 1}"  # larger with every delivery: it fences
    lease_s = queue.ack_timeout_s
    reply = m.Reserved(job.id, job.payload, token, job.attempts + 1, lease_s, command.short)
    return reply, [m.Delivered(job.id, holder, token, now + lease_s)]


def _ack(queue: Queue, command: m.Ack, holder: int, now: float) -> Decision:
    done = queue.finished.get(command.job)
    if done and (done.token == command.token if command.token else done.holder == holder):
        return m.Ok(), []  # said twice by the one who finished it
    return _refusal(queue, command, holder) or (m.Ok(), [m.Acked(command.job)])


def _fail(queue: Queue, command: m.Fail, holder: int, now: float) -> Decision:
    return _refusal(queue, command, holder) or (
        m.Ok(), [_bad_end(queue.jobs[command.job], "failed") or m.Failed(command.job, retry_at=now)]
    )


def _touch(queue: Queue, command: m.Touch, holder: int, now: float) -> Decision:
    return _refusal(queue, command, holder) or (
        m.Ok(), [m.Touched(command.job, now + queue.ack_timeout_s)]
    )


def _refusal(queue: Queue, command: m.Ack | m.Fail | m.Touch, holder: int) -> Decision | None:
    """A lease belongs to the connection that got it; a token narrows it to one delivery."""
    job = queue.find(command.job)
    if job is None:
        return _no_such_job(command.job)
    if job.state == IN_FLIGHT and job.holder == holder and command.token in (None, job.token):
        return None
    return m.Error("STALE", f"job {job.id} is {job.state} and not leased to you"), []


def _bad_end(job: Job, why: str) -> m.Died | None:
    return m.Died(job.id, why) if job.attempts >= job.limit else None


def _disconnect(queue: Queue, command: m.Disconnect, holder: int, now: float) -> Decision:
    ids = sorted(queue.held.get(holder, ()))
    return m.Ok(), [_bad_end(queue.jobs[id], "disconnect") or m.Requeued(id, "disconnect") for id in ids]


def _kick(queue: Queue, command: m.Kick, holder: int, now: float) -> Decision:
    job = queue.find(command.job)
    if job is None:
        return _no_such_job(command.job)
    if job.state != DEAD:
        return m.Error("NOT_DEAD", f"job {job.id} is {job.state}; only a dead job can be kicked"), []
    return m.Ok(), [m.Kicked(job.id)]


def _status(queue: Queue, command: m.Status, holder: int, now: float) -> Decision:
    job = queue.find(command.job)
    return (m.Report("STATUS", _describe(job)), []) if job else _no_such_job(command.job)


def _stats(queue: Queue, command: m.Stats, holder: int, now: float) -> Decision:
    states = {state.lower(): count for state, count in queue.counts.items()}
    totals = {"deliveries": queue.deliveries, "requeued": queue.requeued}
    return m.Report("STATS", {"submitted": queue.submitted, **states, **totals}), []


def _jobs(queue: Queue, command: m.Jobs, holder: int, now: float) -> Decision:
    source = queue.finished if command.state == DONE else queue.jobs
    ids = (id for id, job in source.items()
           if id > command.after and command.state in (None, job.state))
    page = heapq.nsmallest(command.limit, ids)
    return m.Report("JOBS", [_describe(source[id], LISTED) for id in page]), []


def _describe(job: Job, length_max: int | None = None) -> dict[str, Any]:
    payload = job.payload.decode("utf-8", "backslashreplace")[:length_max]
    return {"id": job.id, "state": job.state, "attempts": job.attempts, "payload": payload}


def _no_such_job(id: int) -> Decision:
    return m.Error("NO_SUCH_JOB", f"no job {id} here, or it was finished long ago"), []


DECISIONS: dict[type[Any], Callable[..., Decision]] = {
    m.Submit: _submit, m.Reserve: _reserve, m.Ack: _ack, m.Fail: _fail, m.Touch: _touch, m.Kick: _kick,
    m.Status: _status, m.Stats: _stats, m.Jobs: _jobs, m.Disconnect: _disconnect,
}


# ---- due: what time alone brings about.


def due(queue: Queue, now: float) -> m.Record | None:
    """The next record whose moment has come: a lease that ended, a retry that begins."""
    if not queue.timers or queue.timers[0][0] > now:
        return None
    job = queue.jobs[queue.timers[0][1]]
    if job.state == FAILED:
        return m.Retried(job.id)
    return _bad_end(job, "expiry") or m.Requeued(job.id, "expiry")


# ---- apply: the only mutation.


def apply(queue: Queue, record: m.Record) -> None:
    """Let `record` happen. Raises AssertionError on an edge that TRANSITIONS lacks."""
    if isinstance(record, m.Submitted):
        job = queue.jobs[record.job] = Job(record.job, record.payload, queue.max_attempts)
        queue.submitted = record.job
    else:
        job = queue.jobs[record.job]
    before, after = TRANSITIONS[type(record)]
    assert job.state == before, f"{record} finds job {job.id} {job.state}, not {before}"
    job.state = after
    if before:
        queue.counts[before] -= 1
    queue.counts[after] += 1

    if before == IN_FLIGHT and after != IN_FLIGHT:
        queue.held[job.holder].discard(job.id)
        if not queue.held[job.holder]:
            del queue.held[job.holder]
    if after == PENDING:
        heapq.heappush(queue.pending, job.id)
    if isinstance(record, m.Delivered):
        queue.deliveries += 1
        job.attempts += 1
        job.holder, job.token = record.holder, record.token
        queue.held.setdefault(record.holder, set()).add(job.id)
        _drop_stale(queue.pending, lambda id: id in queue.jobs and queue.jobs[id].state == PENDING)
    if isinstance(record, m.Delivered | m.Touched):
        _set_timer(queue, job, record.deadline)
    elif isinstance(record, m.Failed):
        _set_timer(queue, job, record.retry_at)
    elif isinstance(record, m.Requeued):
        queue.requeued += 1
    elif isinstance(record, m.Kicked):
        job.limit = job.attempts + queue.max_attempts
    elif isinstance(record, m.Acked):
        _finish(queue, job)
    _drop_stale(queue.timers, lambda timer: _ticking(queue, *timer))


def _finish(queue: Queue, job: Job) -> None:
    job.payload = b""
    queue.finished[job.id] = queue.jobs.pop(job.id)
    if len(queue.finished) > REMEMBERED:
        queue.finished.popitem(last=False)


def _set_timer(queue: Queue, job: Job, moment: float) -> None:
    job.due = moment
    heapq.heappush(queue.timers, (moment, job.id))
    waiting = queue.counts[IN_FLIGHT] + queue.counts[FAILED]
    if len(queue.timers) > 2 * waiting + 64:  # one old lease on top must not pile up the rest
        queue.timers[:] = [timer for timer in queue.timers if _ticking(queue, *timer)]
        heapq.heapify(queue.timers)


def _ticking(queue: Queue, moment: float, id: int) -> bool:
    job = queue.jobs.get(id)
    return job is not None and job.state in (IN_FLIGHT, FAILED) and job.due == moment


def _drop_stale(heap: list[Any], live: Callable[[Any], bool]) -> None:
    """Heaps forget lazily: an entry that no longer counts goes when it comes to the top."""
    while heap and not live(heap[0]):
        heapq.heappop(heap)
