"""Producer and Worker over a real server; and the calls whose outcome nobody can know."""
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from test_server import DEADLINE_S, serving, until

from dsjq import Job, OutcomeUnknown, Producer, Refused, Worker
from dsjq import messages as m
from dsjq.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def producer(server: Server) -> Iterator[Producer]:
    with Producer(*server.address) as producer:
        yield producer


@pytest.fixture
def worker(server: Server) -> Iterator[Worker]:
    with Worker(*server.address, name="wendy") as worker:
        yield worker


class Work:
    """Lets `run` go round `count` times, and keeps what it reports."""

    def __init__(self, count: int = 1):
        self.left, self.problems = count, list[tuple[int, str]]()

    def stop(self) -> bool:
        self.left -= 1
        return self.left < 0

    def report(self, job: Job, problem: Exception) -> None:
        self.problems.append((job.id, getattr(problem, "code", str(problem))))


def state(connection: Producer | Worker, id: int) -> str:
    return connection.call(m.Status(id)).data["state"]


# ---- One call at a time


def test_a_job_from_hand_to_hand(producer: Producer, worker: Worker) -> None:
    assert worker.reserve() is None
    assert producer.submit("žlutý") == 1
    job = worker.reserve()
    assert job == Job(1, "žlutý".encode(), "1.1", 1, 30.0)
    worker.touch(job)
    worker.ack(job)
    worker.ack(job)
    assert state(producer, 1) == "DONE"


def test_a_failed_job_comes_again(producer: Producer, worker: Worker) -> None:
    producer.submit(b"x")
    worker.fail(worker.reserve())
    assert worker.reserve().attempt == 2


def test_a_released_job_comes_again_and_has_lost_no_attempt(producer: Producer, worker: Worker) -> None:
    producer.submit("x", retries=0)
    for attempt in (1, 2, 3):
        job = worker.reserve()
        assert job.attempt == attempt
        worker.release(job)
    worker.fail(worker.reserve())
    assert state(producer, 1) == "DEAD"


def test_what_a_producer_may_ask_for(producer: Producer, worker: Worker) -> None:
    producer.submit("usual")
    producer.submit("urgent", priority=-1, lease_s=7.5)
    producer.submit("later", delay_s=3600)
    assert worker.reserve() == Job(2, b"urgent", "1.1", 1, 7.5)
    assert worker.reserve().payload == b"usual"
    assert (worker.reserve(), state(producer, 3)) == (None, "DELAYED")


def test_a_key_makes_it_safe_to_submit_again(producer: Producer) -> None:
    assert producer.submit("x", key="k") == producer.submit("x", key="k") == 1
    with pytest.raises(Refused) as caught:
        producer.submit("y", key="k")
    assert caught.value.code == "KEY_CONFLICT"
    with pytest.raises(ValueError, match="no spaces"):
        producer.submit("x", key="two words")


def test_a_delayed_job_wakes_who_waits_and_is_not_early(producer: Producer, worker: Worker) -> None:
    before = time.monotonic()
    producer.submit("soon", delay_s=0.2)
    assert worker.reserve(wait_s=DEADLINE_S).payload == b"soon"
    assert time.monotonic() - before >= 0.2


def test_a_lost_lease_is_refused(server: Server, producer: Producer, worker: Worker) -> None:
    producer.submit(b"x")
    with Worker(*server.address) as first:
        job = first.reserve()
    assert worker.reserve(wait_s=DEADLINE_S).attempt == 2
    for call in (worker.ack, worker.fail, worker.touch, worker.release):
        with pytest.raises(Refused) as caught:
            call(job)
        assert caught.value.code == "STALE"


def test_what_a_line_cannot_carry_is_not_sent(producer: Producer) -> None:
    with pytest.raises(ValueError, match="binary protocol"):
        producer.submit("two\nlines")
    with pytest.raises(Refused, match="NOT_UTF8"):
        producer.submit(b"\xff")
    with pytest.raises(Refused, match="LINE_TOO_LONG"):
        producer.submit("x" * 70_000)
    assert producer.submit("fits") == 1


def test_a_name_that_is_refused_leaves_nothing_open(server: Server) -> None:
    with pytest.raises(Refused, match="name="):
        Worker(*server.address, name="two words")
    with pytest.raises(ValueError):
        Worker(*server.address, name="two\nlines")
    until(lambda: not server.links)


def test_the_name_is_what_stats_show(producer: Producer, worker: Worker) -> None:
    assert {"name": "wendy", "jobs": []} in producer.call(m.Stats()).data["workers"]


def test_nobody_there_is_a_definite_no() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(Refused) as caught:
        Producer(*address)
    assert caught.value.code == "UNREACHABLE"


# ---- Nobody can know


def test_no_answer_in_time_is_unknown_and_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, \
            Producer(*mute.getsockname(), timeout_s=0.05) as producer:
        with pytest.raises(OutcomeUnknown, match="SUBMIT: timed out"):
            producer.submit("x")
        assert producer.socket.fileno() == -1
        with pytest.raises(OutcomeUnknown):
            producer.submit("y")


@pytest.mark.parametrize("answer", [b"", b"JOB_ID 1", b"WHAT?\n", b"RESERVED id=1 -- x\n"])
def test_half_an_answer_or_nonsense_is_unknown(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            Producer(*listener.getsockname()) as producer:
        conn, _ = listener.accept()
        with conn:
            conn.sendall(answer)
            conn.shutdown(socket.SHUT_WR)
            with pytest.raises(OutcomeUnknown):
                producer.submit("x")
            assert producer.socket.fileno() == -1


def test_the_server_goes_away_in_the_middle_of_a_call() -> None:
    outcome: list[BaseException] = []

    def wait_for_a_job(worker: Worker) -> None:
        with pytest.raises(OutcomeUnknown) as caught:
            worker.reserve(wait_s=60)
        outcome.append(caught.value)

    with serving() as server:
        worker = Worker(*server.address)
        waiter = threading.Thread(target=wait_for_a_job, args=(worker,))
        waiter.start()
        until(lambda: server.broker.work._waiters)
    waiter.join(DEADLINE_S)
    assert "RESERVE" in str(outcome[0])
    assert worker.socket.fileno() == -1


# ---- run


def test_run_acknowledges(producer: Producer, worker: Worker) -> None:
    for payload in "abc":
        producer.submit(payload)
    work, seen = Work(3), list[bytes]()
    worker.run(lambda job: seen.append(job.payload), stop=work.stop, on_problem=work.report)
    assert (seen, work.problems) == ([b"a", b"b", b"c"], [])
    assert [state(producer, id) for id in (1, 2, 3)] == ["DONE"] * 3


def test_run_fails_what_raises_and_goes_on(producer: Producer, worker: Worker) -> None:
    producer.submit("bad")
    producer.submit("good")

    def handler(job: Job) -> None:
        if job.payload == b"bad":
            raise RuntimeError("no")

    work = Work(6)
    worker.run(handler, stop=work.stop, on_problem=work.report)
    assert work.problems == [(1, "no")] * 5
    assert (state(producer, 1), state(producer, 2)) == ("DEAD", "DONE")


class CountingWorker(Worker):
    """Knows how often it has renewed a lease."""

    touches = 0

    def touch(self, job: Job) -> None:
        super().touch(job)
        self.touches += 1


def test_renewal_keeps_a_job_longer_than_its_ack_timeout() -> None:
    with serving(ack_timeout_s=0.9) as server, Producer(*server.address) as producer, \
            CountingWorker(*server.address) as worker:
        producer.submit("long")
        work = Work()
        worker.run(lambda job: until(lambda: worker.touches == 5), stop=work.stop, on_problem=work.report)
        assert work.problems == []
        assert producer.call(m.Status(1)).data == {"id": 1, "state": "DONE", "attempts": 1, "payload": ""}


def test_renewals_stop_at_max_runtime_and_the_job_goes_to_another() -> None:
    with serving(ack_timeout_s=0.3) as server, Producer(*server.address) as producer, \
            CountingWorker(*server.address) as stuck, Worker(*server.address) as other:
        producer.submit("endless")
        work, taken = Work(), list[Job | None]()
        stuck.run(lambda job: taken.append(other.reserve(wait_s=DEADLINE_S)), stop=work.stop,
                  max_runtime_s=0.01, on_problem=work.report)
        assert taken[0].attempt == 2
        assert stuck.touches == 0
        assert work.problems == [(1, "STALE")]
