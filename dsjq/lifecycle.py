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

STATES = ("DELAYED", "PENDING", "IN_FLIGHT", "FAILED", "DONE", "DEAD")
DELAYED, PENDING, IN_FLIGHT, FAILED, DONE, DEAD = STATES
TIMED = (DELAYED, IN_FLIGHT, FAILED)  # those that time alone ends

TRANSITIONS: dict[type[Any], tuple[str | None, str]] = {
    # record: (from, to)
    m.Submitted: (None, PENDING),
    m.Delayed: (None, DELAYED),
    m.Matured: (DELAYED, PENDING),
    m.Delivered: (PENDING, IN_FLIGHT),
    m.Touched: (IN_FLIGHT, IN_FLIGHT),
    m.Acked: (IN_FLIGHT, DONE),
    m.Failed: (IN_FLIGHT, FAILED),  # FAILED is where a job waits for its retry
    m.Retried: (FAILED, PENDING),
    m.Requeued: (IN_FLIGHT, PENDING),  # the connection ended, or the lease did
    m.Released: (IN_FLIGHT, PENDING),  # given back unharmed: this delivery does not count
    m.Died: (IN_FLIGHT, DEAD),  # any bad end, at the limit of attempts
    m.Kicked: (DEAD, PENDING),
}

REMEMBERED = 10_000  # finished jobs that can still be asked about, and acked again by their holder
OLDEST_TURN = 10  # every tenth delivery goes to the oldest job, however urgent the others are
LISTED = 80  # letters of each payload that a listing shows, lest a page of long ones outgrow a line


class Job:
    """One job. `due`: when its delay or its lease ends (DELAYED, IN_FLIGHT), or its retry begins (FAILED)."""

    __slots__ = ("attempts", "due", "free", "holder", "id", "key", "lease_s", "max_attempts", "payload",
                 "position", "priority", "queue", "state", "token")

    def __init__(self, terms: m.Submitted):
        (self.id, self.payload, self.due, self.priority, self.lease_s, self.max_attempts, self.key,
         self.queue) = terms  # lease_s, max_attempts: 0 is as the broker has it
        self.state: str | None = None
        self.attempts = 0  # deliveries so far
        self.free = 0  # of these, how many do not count: released, or before a kick
        self.holder, self.token = 0, ""
        self.position = 0  # the broker's: what must be safe before anybody is told of this job


class Queue:
    """The whole state of the broker. Times are seconds on one clock that never runs backwards."""

    def __init__(self, ack_timeout_s: float = 30.0, max_attempts: int = 5, epoch: int = 1):
        self.ack_timeout_s, self.max_attempts, self.epoch = ack_timeout_s, max_attempts, epoch
        self.backoff: Callable[[Job], float] = lambda job: 0.0  # seconds from a failure to its retry
        self.jobs: dict[int, Job] = {}  # all but DONE
        self.finished: OrderedDict[int, Job] = OrderedDict()  # the last REMEMBERED of DONE
        self.keys: dict[str, Job] = {}  # of both: a key is known as long as its job is
        self.pending: dict[int, list[int]] = {}  # priority -> heap of ids: who comes back keeps its place
        self.lines = {"": self.pending}  # the same of each named queue
        self.exchanges: dict[str, Any] = {}  # those of extensions/routing.py
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
    if known := queue.keys.get(command.key):
        if known.payload == command.payload:
            return m.JobId(known.id), []  # submitted again, perhaps by one who never saw the answer
        return m.Error("KEY_CONFLICT", f"{known.key!r} is job {known.id}, with another payload", known.id), []
    id = queue.submitted + 1
    max_attempts = 0 if command.retries is None else command.retries + 1
    kind, start_at = (m.Delayed, now + command.delay_s) if command.delay_s else (m.Submitted, 0.0)
    return m.JobId(id), [kind(id, command.payload, start_at, command.priority, command.lease_s, max_attempts,
                              command.key)]


def _reserve(queue: Queue, command: m.Reserve, holder: int, now: float) -> Decision:
    if (pending := queue.lines.get(command.queue)) is None:
        return m.Error("NO_SUCH_QUEUE", f"no queue {command.queue!r} here"), []
    if not pending:
        return m.Empty(), []
    job = queue.jobs[_next(queue, pending)]
    token = f"{queue.epoch}.{queue.deliveries + 1}"  # larger with every delivery: it fences
    attempt, lease_s = job.attempts + 1, job.lease_s or queue.ack_timeout_s
    reply = m.Reserved(job.id, job.payload, token, attempt, lease_s, command.short)
    return reply, [m.Delivered(job.id, holder, token, now + lease_s, attempt)]


def _next(queue: Queue, pending: dict[int, list[int]]) -> int:
    """The most urgent job, of these the oldest; but now and then the oldest of all, so that none starves."""
    first = {priority: heap[0] for priority, heap in pending.items()}
    return first[min(first)] if (queue.deliveries + 1) % OLDEST_TURN else min(first.values())


def _settle(queue: Queue, command: Any, holder: int, now: float) -> Decision:
    """A lease belongs to the connection that got it; a token narrows it to one delivery."""
    if not (job := queue.find(command.job)):
        return _no_such_job(command.job)
    if job.state == IN_FLIGHT and job.holder == holder and command.token in (None, job.token):
        return m.Ok(), [SETTLEMENTS[type(command)](queue, job, now)]
    finished_by = job.token == command.token if command.token else job.holder == holder
    if job.state == DONE and isinstance(command, m.Ack) and finished_by:
        return m.Ok(), []  # said twice by the one who finished it
    return m.Error("STALE", f"job {job.id} is {job.state} and not leased to you"), []


SETTLEMENTS: dict[type[Any], Callable[[Queue, Job, float], m.Record]] = {
    m.Ack: lambda queue, job, now: m.Acked(job.id),
    m.Fail: lambda queue, job, now:
        _bad_end(queue, job, "failed") or m.Failed(job.id, now + queue.backoff(job)),
    m.Touch: lambda queue, job, now: m.Touched(job.id, now + (job.lease_s or queue.ack_timeout_s)),
    m.Release: lambda queue, job, now: m.Released(job.id),
}


def _bad_end(queue: Queue, job: Job, why: str) -> m.Died | None:
    """None as long as it may be tried again."""
    limit = job.max_attempts or queue.max_attempts
    return m.Died(job.id, why) if job.attempts - job.free >= limit else None


def _disconnect(queue: Queue, command: m.Disconnect, holder: int, now: float) -> Decision:
    jobs = [queue.jobs[id] for id in sorted(queue.held.get(holder, ()))]
    return m.Ok(), [_bad_end(queue, job, "disconnect") or m.Requeued(job.id, "disconnect") for job in jobs]


def _kick(queue: Queue, command: m.Kick, holder: int, now: float) -> Decision:
    if not (job := queue.find(command.job)):
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
    named = {"queue": job.queue} if job.queue else {}
    return {"id": job.id, "state": job.state, "attempts": job.attempts, "payload": payload, **named}


def _no_such_job(id: int) -> Decision:
    return m.Error("NO_SUCH_JOB", f"no job {id} here, or it was finished long ago"), []


DECISIONS: dict[type[Any], Callable[..., Decision]] = {
    m.Submit: _submit, m.Reserve: _reserve, m.Disconnect: _disconnect, **dict.fromkeys(SETTLEMENTS, _settle),
    m.Kick: _kick, m.Status: _status, m.Stats: _stats, m.Jobs: _jobs,
    m.Ping: lambda *_: (m.Pong(), []), m.Quit: lambda *_: (m.Ok(), []),
}


# ---- due: what time alone brings about.


def due(queue: Queue, now: float) -> m.Record | None:
    """The next record whose moment has come: a delay or a lease that ended, a retry that begins."""
    if not queue.timers or queue.timers[0][0] > now:
        return None
    job = queue.jobs[queue.timers[0][1]]
    if job.state == DELAYED:
        return m.Matured(job.id)
    if job.state == FAILED:
        return m.Retried(job.id)
    return _bad_end(queue, job, "expiry") or m.Requeued(job.id, "expiry")


# ---- apply: the only mutation.


def apply(queue: Queue, record: m.Record) -> None:
    """Let `record` happen. Raises AssertionError on an edge that TRANSITIONS lacks."""
    if type(record) not in TRANSITIONS:
        EFFECTS[type(record)](queue, None, record)  # an extension's, and about no job
        return
    before, after = TRANSITIONS[type(record)]
    job = queue.jobs[record.job] if before else _enter(queue, record)
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
        heapq.heappush(queue.lines[job.queue].setdefault(job.priority, []), job.id)
    if effect := EFFECTS.get(type(record)):
        effect(queue, job, record)
    if before in TIMED:  # heaps forget lazily: what no longer counts goes when it comes to the top
        while queue.timers and not _ticking(queue, *queue.timers[0]):
            heapq.heappop(queue.timers)


def _enter(queue: Queue, record: Any) -> Job:
    job = queue.jobs[record.job] = Job(record)
    queue.submitted = record.job
    if record.key:
        queue.keys[record.key] = job
    return job


def _deliver(queue: Queue, job: Job, record: m.Delivered) -> None:
    queue.deliveries += 1
    job.attempts, job.holder, job.token = record.attempt, record.holder, record.token
    queue.held.setdefault(record.holder, set()).add(job.id)
    _set_timer(queue, job, record.deadline)
    heap = queue.lines[job.queue][job.priority]
    while heap and (heap[0] not in queue.jobs or queue.jobs[heap[0]].state != PENDING):
        heapq.heappop(heap)
    if not heap:
        del queue.lines[job.queue][job.priority]


def _requeue(queue: Queue, job: Job, record: m.Requeued) -> None:
    queue.requeued += 1


def _release(queue: Queue, job: Job, record: m.Released) -> None:
    job.free += 1


def _kicked(queue: Queue, job: Job, record: m.Kicked) -> None:
    job.free = job.attempts


def _finish(queue: Queue, job: Job, record: m.Acked) -> None:
    if not job.key:  # whoever submits it again must have the same
        job.payload = b""
    queue.finished[job.id] = queue.jobs.pop(job.id)
    if len(queue.finished) > REMEMBERED:
        _, forgotten = queue.finished.popitem(last=False)
        queue.keys.pop(forgotten.key, None)


def _set_timer(queue: Queue, job: Job, moment: float) -> None:
    job.due = moment
    heapq.heappush(queue.timers, (moment, job.id))
    if len(queue.timers) > 2 * len(queue.jobs) + 64:  # one old lease on top must not pile up the rest
        queue.timers[:] = [timer for timer in queue.timers if _ticking(queue, *timer)]
        heapq.heapify(queue.timers)


def _ticking(queue: Queue, moment: float, id: int) -> bool:
    job = queue.jobs.get(id)
    return job is not None and job.state in TIMED and job.due == moment


EFFECTS: dict[type[Any], Callable[[Queue, Any, Any], None]] = {
    m.Delayed: lambda queue, job, record: _set_timer(queue, job, record.start_at),
    m.Touched: lambda queue, job, record: _set_timer(queue, job, record.deadline),
    m.Failed: lambda queue, job, record: _set_timer(queue, job, record.retry_at),
    m.Delivered: _deliver, m.Acked: _finish, m.Requeued: _requeue, m.Released: _release, m.Kicked: _kicked,
}
