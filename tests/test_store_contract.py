"""What every durable store owes, held against each of them."""
import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_server import DEADLINE_S, ROOT, Wire, start, started, until

from dsjq import messages as m
from dsjq.broker import Broker, Session
from dsjq.extensions import log
from dsjq.extensions.journal import Journal
from dsjq.extensions.log import decode, encode
from dsjq.extensions.snapshot import Totals
from dsjq.extensions.sqlite import SQLite
from dsjq.server import Server
from dsjq.store import Unusable

STORES = {"journal": Journal, "sqlite": SQLite}
SERVE = [sys.executable, "-m", "dsjq", "serve", "--port", "0"]
Kind = type[Journal] | type[SQLite]


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> Kind:
    return STORES[request.param]


@contextlib.contextmanager
def opened(kind: Kind, folder: Path, **options: Any) -> Iterator[Broker]:
    store = kind(folder)
    broker = Broker(store=store, **options)
    try:
        yield broker
    finally:
        until(lambda: not store.compacting)
        store.close()


def told(broker: Broker) -> dict[int, tuple[str | None, int, bytes]]:
    """What clients can find out of each job."""
    jobs = {**broker.queue.jobs, **broker.queue.finished}
    return {id: (job.state, job.attempts, job.payload) for id, job in sorted(jobs.items())}


# ---- What was appended comes back


@pytest.mark.parametrize("payload", [b"", b"plain", "é ü 漢".encode(), bytes(range(256)), b'"]]\\\x00['])
def test_payloads_come_back_to_the_byte(kind: Kind, tmp_path: Path, payload: bytes) -> None:
    with opened(kind, tmp_path) as broker:
        assert broker.execute(m.Submit(payload), broker.connect()) == m.JobId(1)
    with opened(kind, tmp_path) as broker:
        assert told(broker) == {1: ("PENDING", 0, payload)}


def test_every_kind_of_record_can_be_kept() -> None:
    values: dict[Any, Any] = {int: 7, float: 1.5, str: 'é "\\', bytes: b"\xff\x00\xe9"}
    records = [kind(*(values[hint] for hint in log.get_type_hints(kind).values()))
               for kind in log.KINDS.values()]
    assert Totals in map(type, records) and m.Delivered in map(type, records)
    assert list(decode(iter([encode(records), encode(records[:1])]))) == [[*records, records[0]]]


def test_a_field_that_is_new_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kicked(m.NamedTuple):
        job: int
        since: float = 2.5

    monkeypatch.setitem(log.KINDS, "Kicked", Kicked)
    assert list(decode(iter([b'[["Kicked",1]]']))) == [[(1, 2.5)]]


def test_a_record_that_is_newer_than_the_broker_stops_its_start() -> None:
    with pytest.raises(Unusable, match="Teleported"):
        list(decode(iter([b'[["Teleported",1]]'])))


def busy(broker: Broker, dice: random.Random, commands: int) -> Iterator[None]:
    """A few connections do whatever comes to mind."""
    sessions = [broker.connect() for _ in range(3)]
    for n in range(commands):
        who = dice.randrange(3)
        id = dice.randint(1, max(1, broker.queue.submitted))
        kinds: list[m.Command] = [
            m.Submit(b"payload %d" % n), m.Reserve(), m.Reserve(), m.Ack(id), m.Fail(id), m.Touch(id),
            m.Kick(id)]
        held = sorted(broker.queue.held.get(sessions[who].id, ()))
        kinds += [m.Ack(id) for id in held] + [m.Fail(id) for id in held]
        if dice.random() < 0.03:
            broker.disconnect(sessions[who])
            sessions[who] = broker.connect()
        else:
            broker.execute(dice.choice(kinds), sessions[who])
        yield


def recovered(jobs: dict[int, Any], max_attempts: int) -> dict[int, Any]:
    """The same after a restart, which ends all leases. FAILED is on its way to PENDING."""
    def state(state: str, attempts: int) -> str:
        if state == "IN_FLIGHT":
            return "DEAD" if attempts >= max_attempts else "PENDING"
        return "PENDING" if state == "FAILED" else state
    return {id: (state(job[0], job[1]), *job[1:]) for id, job in jobs.items()}


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_ends_the_leases_and_nothing_else(kind: Kind, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    before: dict[int, Any] = {}
    for _ in range(3):
        with opened(kind, tmp_path, max_attempts=1000) as broker:
            assert recovered(told(broker), 1000) == recovered(before, 1000)
            for _ in busy(broker, dice, 200):
                pass
            before = told(broker)


def test_no_id_and_no_token_is_used_twice(kind: Kind, tmp_path: Path) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(4):
        with opened(kind, tmp_path) as broker:
            session = broker.connect()
            broker.execute(m.Submit(b"x"), session)
            for _ in range(2):
                reply = broker.execute(m.Reserve(), session)
                if isinstance(reply, m.Reserved):
                    seen.append((reply.job, tuple(map(int, reply.token.split(".")))))
            broker.execute(m.Ack(broker.queue.submitted), session)
    tokens = [token for _, token in seen]
    assert tokens == sorted(set(tokens))
    assert {id for id, _ in seen} == {1, 2, 3, 4}


def test_who_was_told_ok_is_told_so_again_and_no_stranger_is(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        session = broker.connect()
        broker.execute(m.Submit(b"x"), session)
        token = broker.execute(m.Reserve(), session).token
        assert broker.execute(m.Ack(1), session) == m.Ok()
    with opened(kind, tmp_path) as broker:
        stranger = broker.connect()
        assert broker.execute(m.Ack(1), stranger).code == "STALE"
        assert broker.execute(m.Ack(1, token), stranger) == m.Ok()


def test_terms_and_keys_outlive_a_restart_and_a_snapshot(kind: Kind, tmp_path: Path) -> None:
    put = m.Submit(b"x", delay_s=0.0, priority=-3, lease_s=7.0, retries=0, key="order-7")
    for compact in (False, True, False):
        with opened(kind, tmp_path) as broker:
            assert broker.execute(put, broker.connect()) == m.JobId(1)
            assert broker.execute(put._replace(payload=b"y"), broker.connect()).code == "KEY_CONFLICT"
            assert broker.queue.jobs[1].priority == -3
            if compact:
                broker.store._compact()
    with opened(kind, tmp_path) as broker:
        session = broker.connect()
        assert broker.execute(m.Reserve(), session).lease_s == 7.0
        assert broker.execute(m.Fail(1), session) == m.Ok()
        assert told(broker) == {1: ("DEAD", 1, b"x")}


def test_a_clock_goes_on(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready_in_s() -> float:
        with opened(kind, tmp_path) as broker:
            return broker._next_due() - broker._now()

    with opened(kind, tmp_path) as broker:
        broker.execute(m.Submit(b"x", delay_s=1000.0), broker.connect())
    wall, monotonic = time.time(), time.monotonic()
    monkeypatch.setattr("time.time", lambda: wall + 1e6)  # somebody sets the wall clock
    monkeypatch.setattr("time.monotonic", lambda: monotonic + 100.0)
    assert ready_in_s() == pytest.approx(900.0, abs=DEADLINE_S)
    monkeypatch.setattr("dsjq.extensions.folder.this_boot", lambda: "another")  # the machine starts again
    monkeypatch.setattr("time.time", lambda: wall + 300.0)
    monkeypatch.setattr("time.monotonic", lambda: 5.0)
    assert ready_in_s() == pytest.approx(700.0, abs=DEADLINE_S)
    monkeypatch.setattr("dsjq.extensions.folder.this_boot", str)  # where nobody knows, the wall clock decides
    monkeypatch.setattr("time.time", lambda: wall + 400.0)
    assert ready_in_s() == pytest.approx(600.0, abs=DEADLINE_S)


# ---- The folder


def test_a_folder_has_one_broker(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path), pytest.raises(Unusable, match="another broker"):
        kind(tmp_path)
    with opened(kind, tmp_path):
        pass


def test_what_is_no_store_of_ours_is_left_alone(kind: Kind, tmp_path: Path) -> None:
    for name in ("journal", "jobs.sqlite"):
        (tmp_path / name).write_bytes(b"a letter to my mother\n" * 20)
    with pytest.raises(Unusable, match=str(tmp_path)):
        kind(tmp_path)
    assert (tmp_path / "journal").read_bytes() == (tmp_path / "jobs.sqlite").read_bytes() != b""


# ---- No reply outruns the disk


class HeldBack:
    """Keeps a store from syncing, and knows who waits for that."""

    def __init__(self, store: Any):
        self.store, self.go = store, threading.Event()
        self.waiting, self.syncs = 0, 0
        self._wait, self._sync, self.lock = store.wait, store._sync, threading.Lock()
        store.wait, store._sync = self.wait, self.sync

    def wait(self, position: int) -> None:
        if position > self.store.durable:
            with self.lock:
                self.waiting += 1
        self._wait(position)

    def sync(self) -> None:
        assert self.go.wait(DEADLINE_S)
        self.syncs += 1
        self._sync()

    def asks(self, broker: Broker, command: m.Command, session: Session) -> "Asked":
        return Asked(self, lambda: broker.execute(command, session))


class Asked:
    """A command under way: returns when it was answered or waits for the disk."""

    def __init__(self, held: HeldBack, ask: Callable[[], m.Reply]):
        before = held.waiting
        self.reply: m.Reply | None = None

        def run() -> None:
            self.reply = ask()
        self.thread = threading.Thread(target=run)
        self.thread.start()
        until(lambda: held.waiting > before or not self.thread.is_alive())
        self.waits = self.thread.is_alive()

    def end(self) -> m.Reply:
        self.thread.join(DEADLINE_S)
        assert self.reply is not None
        return self.reply


def leased(broker: Broker, session: Session, count: int = 1) -> None:
    for _ in range(count):
        broker.execute(m.Submit(b"x"), session)
        broker.execute(m.Reserve(), session)


def dead(broker: Broker, session: Session) -> None:
    leased(broker, session)
    broker.execute(m.Fail(1), session)


def pending(broker: Broker, session: Session) -> None:
    broker.execute(m.Submit(b"x"), session)


def nothing(broker: Broker, session: Session) -> None:
    pass


WRITERS = [  # what happened before, and the command that writes
    (nothing, m.Submit(b"new"), m.JobId(1)),
    (leased, m.Ack(1), m.Ok()),
    (leased, m.Fail(1), m.Ok()),
    (leased, m.Release(1), m.Ok()),
    (dead, m.Kick(1), m.Ok()),
]


@pytest.mark.parametrize(("prepare", "command", "reply"), WRITERS, ids=lambda value: type(value).__name__)
def test_who_writes_waits(kind: Kind, tmp_path: Path, prepare: Any, command: m.Command,
                          reply: m.Reply) -> None:
    with opened(kind, tmp_path, max_attempts=1) as broker:
        session = broker.connect()
        prepare(broker, session)
        held = HeldBack(broker.store)
        asked = held.asks(broker, command, session)
        assert asked.waits
        held.go.set()
        assert asked.end() == reply


READERS = [  # what is under way, and what is asked meanwhile about the same job
    (nothing, m.Submit(b"x"), m.Status(1)),
    (nothing, m.Submit(b"x"), m.Reserve()),
    (nothing, m.Submit(b"x", key="k"), m.Submit(b"x", key="k")),
    (nothing, m.Submit(b"x", key="k"), m.Submit(b"another", key="k")),
    (leased, m.Ack(1), m.Ack(1)),
    (leased, m.Ack(1), m.Ack(1, "1.1")),
    (leased, m.Ack(1), m.Touch(1)),
    (leased, m.Ack(1), m.Kick(1)),
    (leased, m.Ack(1), m.Status(1)),
    (leased, m.Fail(1), m.Fail(1)),
    (leased, m.Fail(1), m.Status(1)),
    (dead, m.Kick(1), m.Reserve()),
]


@pytest.mark.parametrize("same", [True, False], ids=["same connection", "another"])
@pytest.mark.parametrize(("prepare", "command", "question"), READERS,
                         ids=[f"{command} {question}" for _, command, question in READERS])
def test_who_only_asks_about_a_job_waits_for_what_was_written_of_it(
        kind: Kind, tmp_path: Path, prepare: Any, command: m.Command, question: m.Command,
        same: bool) -> None:
    with opened(kind, tmp_path, max_attempts=1) as broker:
        session = broker.connect()
        prepare(broker, session)
        held = HeldBack(broker.store)
        writer = held.asks(broker, command, session)
        asked = held.asks(broker, question, session if same else broker.connect())
        assert writer.waits and asked.waits
        held.go.set()
        writer.end()
        asked.end()


def test_what_is_about_no_job_or_another_does_not_wait(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        session = broker.connect()
        leased(broker, session, 2)
        held = HeldBack(broker.store)
        writer = held.asks(broker, m.Ack(1), session)
        for question in (m.Stats(), m.Jobs(), m.Reserve(), m.Status(2), m.Status(99), m.Hello("ann")):
            assert not held.asks(broker, question, broker.connect()).waits
        held.go.set()
        writer.end()


def test_only_a_store_that_has_not_written_it_waits_for_a_delivery(kind: Kind, tmp_path: Path) -> None:
    """It must outlive the process, and the journal's is in the hands of the kernel by then."""
    with opened(kind, tmp_path) as broker:
        session = broker.connect()
        pending(broker, session)
        held = HeldBack(broker.store)
        asked = held.asks(broker, m.Reserve(), session)
        assert asked.waits == (kind is SQLite)
        held.go.set()
        asked.end()


def test_a_disconnect_is_not_kept_waiting_and_the_next_delivery_is(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        session, other = broker.connect(), broker.connect()
        leased(broker, session)
        held = HeldBack(broker.store)
        broker.disconnect(session)
        asked = held.asks(broker, m.Reserve(), other)
        assert asked.waits
        held.go.set()
        assert asked.end().attempt == 2


def test_many_share_one_sync(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        held = HeldBack(broker.store)
        asked = [held.asks(broker, m.Submit(b"x"), broker.connect()) for _ in range(17)]
        held.go.set()
        assert sorted(each.end().job for each in asked) == list(range(1, 18))
        assert held.syncs == 2  # one for the first, one for the sixteen that came meanwhile


def test_a_broker_that_stops_waits_for_the_disk_and_answers(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        server = Server(broker)
        with Wire(server.address) as worker:
            worker.send("SUBMIT x\nREQUEST\n")
            assert (worker.read(), worker.read()) == ("JOB_ID 1", "JOB 1 x")
            held = HeldBack(broker.store)
            worker.send("ACK 1\n")
            until(lambda: held.waiting)
            broker.drain(DEADLINE_S)
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            until(lambda: server.listener.fileno() < 0)
            held.go.set()
            assert worker.read() == "OK"
            assert worker.read() == ""
            stopping.join(DEADLINE_S)


# ---- Leaving garbage behind


def test_a_log_is_as_long_as_what_is_alive(kind: Kind, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "GARBAGE_MIN", 100)
    monkeypatch.setattr("dsjq.lifecycle.REMEMBERED", 10)
    with opened(kind, tmp_path, max_attempts=1000) as broker:
        def work(n: int) -> None:
            for _ in busy(broker, random.Random(n), 800):
                pass

        threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: not broker.store.compacting)
        before, alive = told(broker), len(broker.queue.jobs)
        counts = (broker.queue.submitted, broker.queue.deliveries)
        broker.execute(m.Submit(b"wakes the compaction, if one is due"), broker.connect())
        until(lambda: not broker.store.compacting)
        appended = broker.store.appended
    with opened(kind, tmp_path, max_attempts=1000) as broker:
        after = told(broker)
        assert after.popitem()[1][2] == b"wakes the compaction, if one is due"
        assert recovered(after, 1000) == recovered(before, 1000)
        assert (broker.queue.submitted - 1, broker.queue.deliveries) == counts
        assert broker.store.appended > appended  # the leases that the restart ended
        assert broker.store.recovered < 3 * alive + 400 < 2500, "else nothing was left behind"


def test_while_a_log_is_written_anew_no_reply_outruns_it(kind: Kind, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as broker:
        session = broker.connect()
        leased(broker, session, 20)
        held = HeldBack(broker.store)
        compaction = threading.Thread(target=broker.store._compact)
        compaction.start()
        until(lambda: broker.store.leading)
        asked = [held.asks(broker, m.Submit(b"y"), broker.connect()) for _ in range(2)]
        assert all(each.waits for each in asked)
        held.go.set()
        compaction.join(DEADLINE_S)
        assert sorted(each.end().job for each in asked) == [21, 22]
        before = told(broker)
    with opened(kind, tmp_path) as broker:
        assert told(broker) == recovered(before, 5)


# ---- The disk fails, and the broker with it


BREAK = {
    "journal": "from dsjq.extensions.journal import Journal as S; S.sync = staticmethod(fails)",
    "sqlite": "from dsjq.extensions.sqlite import SQLite as S; S._commit = fails",
}


@pytest.mark.parametrize("store", STORES)
def test_a_failed_sync_ends_the_broker_and_answers_nobody(store: str, tmp_path: Path) -> None:
    program = (
        "import sys, dsjq.cli\nfrom dsjq.extensions import limits\n"
        "def fails(*_): raise OSError(5, 'Input/output error')\n"
        "class Server(limits.LimitedServer):\n"
        "    def __init__(self, *words):\n"
        "        super().__init__(*words)\n"
        f"        {BREAK[store]}\n"
        "limits.LimitedServer = Server\n"
        "dsjq.cli.main(['serve', '--port', '0', *sys.argv[1:]])\n")
    command = [sys.executable, "-c", program, "--data", str(tmp_path), "--store", store]
    with started(command) as process:
        host, port = process.stdout.readline().split()[-1].split(":")
        with Wire((host, int(port))) as a, Wire((host, int(port))) as b:
            b.send("PING\n")
            assert b.read() == "PONG"
            a.send("SUBMIT x\n")
            with contextlib.suppress(ConnectionResetError):
                assert a.read() == ""
            with contextlib.suppress(ConnectionResetError):
                assert b.read() == ""
        assert process.wait(DEADLINE_S) == 74
        assert "the disk failed" in process.stderr.read()
    with opened(STORES[store], tmp_path):
        pass


# ---- serve


@pytest.mark.parametrize("store", STORES)
def test_serve_says_what_it_recovered(store: str, tmp_path: Path) -> None:
    command = [*SERVE, "--data", str(tmp_path / "a" / "b"), "--store", store]
    for report in ("0 records from {}: no jobs; 0 bytes cut off\n",
                   "4 records from {}: 1 PENDING, 1 DONE; 0 bytes cut off\n"):
        with start(command) as process:
            host, port = process.stdout.readline().split()[-1].split(":")
            name = "journal" if store == "journal" else "jobs.sqlite"
            assert process.stderr.readline() == "recovered " + report.format(tmp_path / "a" / "b" / name)
            with Wire((host, int(port))) as wire:
                for line in ("SUBMIT x", "SUBMIT y", "REQUEST", "ACK 1"):
                    wire.ask(line)
            process.send_signal(signal.SIGKILL)


def test_a_folder_in_use_is_named(tmp_path: Path) -> None:
    with opened(Journal, tmp_path):
        result = subprocess.run([*SERVE, "--data", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                                timeout=DEADLINE_S)
    assert result.returncode == 1
    assert result.stderr == f"dsjq: cannot start: {tmp_path} belongs to another broker that is running\n"


def test_a_store_without_a_folder_is_bad_usage() -> None:
    result = subprocess.run([*SERVE, "--store", "sqlite"], cwd=ROOT, capture_output=True, text=True,
                            timeout=DEADLINE_S)
    assert result.returncode != 0 and "--data" in result.stderr


def test_sqlite_is_imported_only_when_asked_for(tmp_path: Path) -> None:
    program = ("import sys, threading; from dsjq.extensions.journal import Journal; import dsjq.cli;"
               "assert 'sqlite3' not in sys.modules")
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=DEADLINE_S)
