"""When a failed job is tried again; and a snapshot's size and truth for the cases that chance may miss."""
import json
from pathlib import Path

import pytest
from test_core_against_model import visible
from test_lifecycle import do, queue_after
from test_server import Wire, serving_process, until
from test_store_contract import STORES, Kind, opened

from dsjq import messages as m
from dsjq.extensions.scheduling import Backoff
from dsjq.extensions.snapshot import snapshot
from dsjq.lifecycle import Job, Queue, apply, due


def job(attempts: int, free: int = 0, id: int = 1) -> Job:
    job = Job(m.Submitted(id, b""))
    job.attempts, job.free = attempts, free
    return job


def test_pauses_are_spread_over_a_span_that_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_s=1.0, cap_s=10.0)
    for attempts, longest_s in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (10_000, 10.0)]:
        pauses = [backoff(job(attempts, id=id)) for id in range(1000)]
        assert all(0.0 <= pause <= longest_s for pause in pauses)
        for tenth in range(10):  # full jitter: no part of the span is left out, none is crowded
            part = [pause for pause in pauses if tenth <= 10 * pause / longest_s < tenth + 1]
            assert 50 < len(part) < 150


def test_the_seed_decides() -> None:
    jobs = [job(attempts, id=id) for id in range(10) for attempts in range(1, 5)]
    assert [*map(Backoff(1.0, 9.0, seed=7), jobs)] == [*map(Backoff(1.0, 9.0, seed=7), jobs)]
    assert [*map(Backoff(1.0, 9.0, seed=7), jobs)] != [*map(Backoff(1.0, 9.0, seed=8), jobs)]
    assert len(set(map(Backoff(1.0, 1.0, seed=7), jobs))) == len(jobs)


def test_a_kick_and_a_release_begin_anew() -> None:
    """Attempts that do not count make no pause longer."""
    assert max(Backoff(1.0, 1e9)(job(attempts=21, free=20, id=id)) for id in range(1000)) <= 1.0


def test_a_failed_job_waits_and_one_whose_worker_vanished_does_not() -> None:
    queue = queue_after(m.Submitted(1, b""))
    queue.backoff = lambda job: 7.0
    do(queue, m.Reserve())
    do(queue, m.Fail(1), now=1.0)
    assert queue.jobs[1].state == "FAILED"
    assert due(queue, 7.99) is None
    assert due(queue, 8.0) == m.Retried(1)
    apply(queue, m.Retried(1))
    do(queue, m.Reserve(), now=8.0)
    do(queue, m.Disconnect(), now=8.0)
    assert queue.jobs[1].state == "PENDING"


def test_serve_takes_a_backoff() -> None:
    with serving_process("--backoff", "1h", "--backoff-cap", "250ms") as (_, address), \
            Wire(address) as wire:
        wire.ask("SUBMIT x")
        wire.ask("REQUEST")
        assert wire.ask("FAIL 1") == "OK"
        until(lambda: json.loads(wire.ask("STATUS 1").removeprefix("STATUS "))["state"] == "PENDING")
        assert wire.ask("REQUEST") == "JOB 1 x"


def test_a_snapshot_of_an_hour_of_trouble_is_four_records() -> None:
    queue = queue_after(m.Submitted(1, b""))
    for _ in range(1000):
        do(queue, m.Reserve())
        do(queue, m.Release(1))
    assert len(list(snapshot(queue))) == 5  # submitted, delivered, died, kicked; and the totals


LEASED = [m.Submitted(1, b"x", 0.0, 3, 2.0, 7, "k"), m.Delivered(1, 4, "1.1", 9.0)]
TRIED_TWICE = [*LEASED, m.Released(1), m.Delivered(1, 5, "1.2", 8.0, 2)]


@pytest.mark.parametrize("end", [m.Touched(1, 11.0), m.Acked(1), m.Failed(1, 33.0), m.Requeued(1, "expiry"),
                                 m.Released(1), m.Died(1, "failed")])
@pytest.mark.parametrize("records", [LEASED, TRIED_TWICE], ids=["once", "twice"])
def test_a_snapshot_shows_every_state_as_it_is(records: list[m.Record], end: m.Record) -> None:
    queue, restored = queue_after(*records, end), Queue()
    for record in snapshot(queue):
        apply(restored, record)
    assert visible(restored) == visible(queue)
    assert set(restored.timers) == set(queue.timers)


def test_a_restored_queue_hands_out_the_same_and_forgets_the_same() -> None:
    queue = Queue()
    for id in range(1, 4):
        do(queue, m.Submit(b"", key=f"k{id}"))
    for id in (2, 1, 3):
        apply(queue, m.Delivered(id, 1, f"1.{id}", 9.0))
        do(queue, m.Ack(id))
    restored = Queue(epoch=2)
    for record in snapshot(queue):
        apply(restored, record)
    assert list(restored.finished) == [2, 1, 3]
    assert do(restored, m.Submit(b"", key="k2")) == m.JobId(2)
    assert do(restored, m.Submit(b"")) == m.JobId(4)
    assert do(restored, m.Reserve()).token == "2.4"
    assert do(restored, m.Ack(2, "1.2")) == m.Ok()


@pytest.mark.parametrize("record", [m.Delayed(1, b"x", 9.0, key="k"), m.Delayed(1, b"x", 9.0, 3, 2.0, 7)])
def test_a_delayed_job_stays_delayed(record: m.Delayed) -> None:
    first, *rest = snapshot(queue_after(record))
    assert (type(first), first, len(rest)) == (m.Delayed, record, 1)


# ---- Across a restart


@pytest.mark.parametrize("kind", STORES.values(), ids=STORES)
def test_all_that_a_job_was_put_with_survives_a_restart(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path, max_attempts=2) as broker:
        session = broker.connect()
        for command in (m.Submit(b"usual"), m.Submit(b"later", delay_s=3600),
                        m.Submit(b"urgent", priority=-5),
                        m.Submit(b"fast", priority=1, lease_s=0.25, retries=3, key="k"),
                        m.Reserve(), m.Release(3), m.Reserve(), m.Fail(3)):
            assert not isinstance(broker.execute(command, session), m.Error)
    with opened(kind, tmp_path, max_attempts=2) as broker:
        session = broker.connect()

        def state(id: int) -> object:
            return broker.execute(m.Status(id), session).data["state"]

        assert broker.execute(m.Submit(b"fast", key="k"), session) == m.JobId(4)
        assert broker.execute(m.Submit(b"slow", key="k"), session).code == "KEY_CONFLICT"
        assert broker.execute(m.Submit(b"new"), session) == m.JobId(5)
        given = [broker.execute(m.Reserve(), session) for _ in range(5)]
        assert [reply.payload for reply in given[:4]] == [b"urgent", b"usual", b"new", b"fast"]
        assert (given[4], state(2)) == (m.Empty(), "DELAYED")
        assert [(reply.token, reply.attempt, reply.lease_s) for reply in given[:4:3]] == \
            [("2.3", 3, 30.0), ("2.6", 1, 0.25)]
        broker.execute(m.Fail(3), session)  # two attempts that count, and one released
        broker.execute(m.Fail(4), session)
        assert (state(3), state(4)) == ("DEAD", "PENDING")


@pytest.mark.parametrize("kind", STORES.values(), ids=STORES)
def test_a_pause_goes_on_over_a_restart(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        broker.queue.backoff = lambda job: 3600.0
        session = broker.connect()
        for command in (m.Submit(b"x"), m.Reserve(), m.Fail(1)):
            broker.execute(command, session)
        retry_at = broker.queue.jobs[1].due
    with opened(kind, tmp_path) as broker:
        assert broker.execute(m.Reserve(), broker.connect()) == m.Empty()
        assert (broker.queue.jobs[1].state, broker.queue.jobs[1].due) == ("FAILED", retry_at)
