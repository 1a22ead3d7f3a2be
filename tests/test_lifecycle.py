"""What the golden scripts and the model leave open: illegal records, and that everything is bounded."""
import copy

import pytest

from dsjq import lifecycle
from dsjq import messages as m
from dsjq.lifecycle import STATES, TRANSITIONS, Queue, apply, decide, due

LEASED = [m.Submitted(1, b"x"), m.Delivered(1, 7, "1.1", 30.0)]


def queue_after(*records: m.Record) -> Queue:
    queue = Queue()
    for record in records:
        apply(queue, record)
    return queue


def do(queue: Queue, command: m.Command, holder: int = 1, now: float = 0.0) -> m.Reply:
    reply, records = decide(queue, command, holder, now)
    for record in records:
        apply(queue, record)
    return reply


@pytest.mark.parametrize("record", [
    m.Acked(1), m.Failed(1, 0.0), m.Retried(1), m.Requeued(1, "expiry"), m.Died(1, "failed"), m.Kicked(1),
    m.Touched(1, 9.0), m.Released(1), m.Matured(1),
])
def test_a_record_that_no_edge_allows_is_an_error(record: m.Record) -> None:
    with pytest.raises(AssertionError, match="PENDING"):
        apply(queue_after(m.Submitted(1, b"x")), record)


def test_a_job_is_delivered_to_one_at_a_time() -> None:
    with pytest.raises(AssertionError, match="IN_FLIGHT"):
        apply(queue_after(*LEASED), m.Delivered(1, 8, "1.2", 30.0))


def test_every_record_and_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(m.Record.__args__)
    assert {state for edge in TRANSITIONS.values() for state in edge} == {None, *STATES}


@pytest.mark.parametrize("command", [
    m.Submit(b"y"), m.Submit(b"y", delay_s=1.0, priority=1, key="k"), m.Reserve(), m.Ack(1), m.Fail(1),
    m.Touch(1), m.Release(1), m.Kick(1), m.Status(1), m.Stats(), m.Jobs(), m.Disconnect(),
])
def test_decide_and_due_only_read(command: m.Command) -> None:
    queue = queue_after(*LEASED, m.Submitted(2, b"z"))
    before = everything(queue)
    decide(queue, command, 7, 99.0)
    due(queue, 99.0)
    assert everything(queue) == before


def everything(queue: Queue) -> object:
    jobs = {id: [getattr(job, slot) for slot in job.__slots__]
            for id, job in [*queue.jobs.items(), *queue.finished.items()]}
    rest = {key: value for key, value in vars(queue).items() if key not in ("jobs", "finished", "keys")}
    return copy.deepcopy((jobs, rest))


def test_an_expiry_comes_once_and_not_early() -> None:
    queue = queue_after(*LEASED)
    assert due(queue, 29.99) is None
    assert due(queue, 30.0) == m.Requeued(1, "expiry")
    apply(queue, m.Requeued(1, "expiry"))
    assert due(queue, 1e9) is None


def test_touching_for_ever_takes_no_memory() -> None:
    queue = queue_after(*LEASED, m.Submitted(2, b""), m.Delivered(2, 7, "1.2", 1.0), m.Delayed(3, b"", 9e9))
    for moment in range(5000):
        apply(queue, m.Touched(1, 31.0 + moment))
    assert len(queue.timers) <= 100


def test_a_delayed_job_comes_once_and_not_early() -> None:
    queue = queue_after(m.Delayed(1, b"x", start_at=30.0))
    assert due(queue, 29.99) is None
    assert do(queue, m.Reserve(), now=29.99) == m.Empty()
    assert due(queue, 30.0) == m.Matured(1)
    apply(queue, m.Matured(1))
    assert due(queue, 1e9) is None


def test_a_job_that_comes_back_for_ever_takes_no_memory() -> None:
    queue = queue_after(m.Submitted(1, b"", priority=9), *[m.Submitted(id, b"") for id in range(2, 30)])
    for _ in range(1000):
        job = do(queue, m.Reserve()).job
        assert do(queue, m.Release(job)) == m.Ok()
    assert sum(map(len, queue.pending.values())) == 29
    assert queue.jobs[1].attempts == 100


def test_what_is_urgent_does_not_starve_the_rest() -> None:
    """While it is the oldest, a job is passed over nine times at most."""
    queue = queue_after(*[m.Submitted(id, b"", priority=9) for id in range(1, 4)])
    turns = list[int]()
    for turn in range(1, 41):
        do(queue, m.Submit(b"", priority=-9))
        job = do(queue, m.Reserve()).job
        assert do(queue, m.Ack(job)) == m.Ok()
        if job <= 3:
            turns.append(turn)
    assert turns == [10, 20, 30]


def test_a_key_is_forgotten_with_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "REMEMBERED", 2)
    queue = Queue()
    for id in range(1, 5):
        assert do(queue, m.Submit(b"", key=f"k{id}")) == m.JobId(id)
        do(queue, m.Reserve())
        do(queue, m.Ack(id))
    assert set(queue.keys) == {"k3", "k4"}
    assert do(queue, m.Submit(b"another", key="k1")) == m.JobId(5)
    assert do(queue, m.Submit(b"another", key="k4")).code == "KEY_CONFLICT"


def test_only_so_many_finished_jobs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "REMEMBERED", 3)
    queue = Queue()
    for id in range(1, 6):
        do(queue, m.Submit(b"x" * 1000))
        do(queue, m.Reserve())
        assert do(queue, m.Ack(id)) == m.Ok()
    assert list(queue.finished) == [3, 4, 5]
    assert not any(job.payload for job in queue.finished.values())
    assert do(queue, m.Ack(2)).code == "NO_SUCH_JOB"
    assert do(queue, m.Ack(3)) == m.Ok()
    assert queue.counts["DONE"] == 5


def test_a_listing_is_bounded_by_count_and_by_size() -> None:
    queue = queue_after(*[m.Submitted(id, b"x" * 60_000) for id in range(1, 201)])
    page = do(queue, m.Jobs()).data
    assert [job["id"] for job in page] == list(range(1, 101))
    assert all(len(job["payload"]) <= 80 for job in page)
    assert len(do(queue, m.Status(1)).data["payload"]) == 60_000
