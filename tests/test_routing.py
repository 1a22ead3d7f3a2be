"""Who gets a copy: the rules against a naive reading of them, and what a broker makes of them."""
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from test_server import DEADLINE_S, ROOT, Wire, serving, started, until
from test_store_contract import STORES, Kind, opened
from test_text import quick

from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.extensions import routing as r
from dsjq.extensions.binary import Worker
from dsjq.extensions.limits import LimitedServer, Limits, Weighed
from dsjq.store import MemoryStore

# ---- The rules


def naive(pattern: list[str], words: list[str]) -> bool:
    """As it is told: what the first word of the pattern may stand for, and the rest for the rest."""
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(naive(rest, words[used:]) for used in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and naive(rest, words[1:])


def split(key: str) -> list[str]:
    return key.split(".") if key else []


keys = st.lists(st.sampled_from(["a", "b", "", "ab", "*", "#"]), max_size=6).map(".".join)
patterns = st.lists(st.sampled_from(["a", "b", "", "*", "#", "*", "#", "a*"]), max_size=6).map(".".join)


@quick
@given(patterns, keys)
@example("#.#.#", "")
@example("*", "")
@example("#.a.#.a", "a.a.a")
def test_a_topic_is_matched_as_it_is_told(pattern: str, key: str) -> None:
    assert r.matches(pattern, key) == naive(split(pattern), split(key))


@pytest.mark.parametrize(("pattern", "key", "does"), [
    ("#", "", True), ("*", "", False), ("", "", True), ("", "a", False), ("#", "a.b.c", True),
    ("a.#", "a", True), ("#.a", "a", True), ("a.#.b", "a.b", True), ("a.#.b", "a.b.c", False),
    ("a.*", "a.", True), ("*.*", ".", True), ("a.*.b", "a..b", True), ("*.#", "", False), ("*.#", "a", True),
    ("#.*", "a", True), ("a*", "ab", False), ("a*", "a*", True), ("A", "a", False), ("*", "*", True),
])
def test_odd_rules(pattern: str, key: str, does: bool) -> None:
    assert r.matches(pattern, key) == does


def test_many_hashes_cost_no_time() -> None:
    assert not r.matches(".".join(["#", "a"] * 60), ".".join(["a"] * 59 + ["b"]))


bindings = st.lists(st.tuples(st.sampled_from("pqr"), patterns), max_size=8)


@quick
@given(st.sampled_from(list(r.KINDS)), bindings, bindings, keys)
def test_each_queue_gets_one_copy_or_none(kind: str, bound: list[Any], unbound: list[Any], key: str) -> None:
    broker = Broker()
    session = broker.connect()
    for command in (r.Declare(kind, "x"), *(r.Declare("queue", name) for name in "pqr"),
                    *(r.Bind(queue, "x", pattern) for queue, pattern in bound),
                    *(r.Unbind(queue, "x", pattern) for queue, pattern in unbound)):
        assert broker.execute(command, session) == m.Ok()
    reply = broker.execute(r.Publish("x", key, b"hello"), session)
    expected = {queue for queue, pattern in bound if (queue, pattern) not in unbound
                and {"direct": pattern == key, "fanout": True,
                     "topic": naive(split(pattern), split(key))}[kind]}
    got = [job.queue for job in broker.queue.jobs.values()]
    assert sorted(got) == sorted(expected)
    if expected:
        assert sorted(reply.data) == sorted(broker.queue.jobs)
    else:
        assert reply.code == "UNROUTABLE" and broker.queue.exchanges["x"].unroutable == 1


# ---- Copies are jobs


class Played:
    """A broker, and one connection to it."""

    def __init__(self, **options: Any):
        self.broker = Broker(**options)
        self.session = self.broker.connect()

    def do(self, command: Any) -> Any:
        return self.broker.execute(command, self.session)

    def take(self, queue: str) -> Any:
        return self.do(m.Reserve(queue=queue))


def bound(broker: Broker, *queues: str) -> None:
    session = broker.connect()
    broker.execute(r.Declare("fanout", "x"), session)
    for name in queues:
        broker.execute(r.Declare("queue", name), session)
        assert broker.execute(r.Bind(name, "x", ""), session) == m.Ok()
    broker.disconnect(session)


@pytest.fixture
def played() -> Played:
    played = Played(max_attempts=2)
    bound(played.broker, "p", "q")
    return played


def test_copies_have_lives_of_their_own(played: Played) -> None:
    assert played.do(r.Publish("x", "", b"hello")) == m.Report("JOB_IDS", [1, 2])
    first = played.take("p")
    assert (first.job, first.payload) == (1, b"hello")
    assert played.do(m.Ack(1)) == m.Ok()
    assert played.take("p") == m.Empty()
    for _ in range(2):
        assert played.take("q").job == 2
        played.do(m.Fail(2))
    assert played.do(m.Status(2)).data == {"id": 2, "state": "DEAD", "attempts": 2, "payload": "hello",
                                           "queue": "q"}
    played.do(m.Kick(2))
    assert played.take("p") == m.Empty() == played.take("")
    assert played.take("q").job == 2


def test_a_disconnect_gives_each_copy_back_to_its_queue(played: Played) -> None:
    played.do(r.Publish("x", "", b"hello"))
    other = played.broker.connect()
    for name in "pq":
        played.broker.execute(m.Reserve(queue=name), other)
    played.broker.disconnect(other)
    assert [played.take(name).job for name in "pq"] == [1, 2]


def test_order_and_terms_hold_within_a_queue(played: Played) -> None:
    played.do(m.Submit(b"of everybody", priority=-9))
    played.do(r.Publish("x", "", b"usual"))
    played.do(r.Publish("x", "", b"urgent", 0.0, -1, 7.5, 0))
    played.do(r.Publish("x", "", b"later", 3600.0))
    urgent = played.take("p")
    assert (urgent.payload, urgent.lease_s) == (b"urgent", 7.5)
    played.do(m.Fail(urgent.job))
    assert played.do(m.Status(urgent.job)).data["state"] == "DEAD"
    assert played.take("p").payload == b"usual"
    assert played.take("p") == m.Empty()
    assert played.take("").payload == b"of everybody"


def test_a_key_is_a_queues_own(played: Played) -> None:
    assert played.do(m.Submit(b"mine", key="k")) == m.JobId(1)
    publish = r.Publish("x", "", b"hello", key="k")
    assert played.do(publish).data == [2, 3]
    assert played.do(publish).data == [2, 3]
    bound(played.broker, "new")
    assert played.do(publish).data == [2, 3, 4]
    assert played.do(publish._replace(payload=b"another")).code == "KEY_CONFLICT"
    assert len(played.broker.queue.jobs) == 4


def test_what_is_not_there_is_named(played: Played) -> None:
    for command, code in [
        (r.Bind("nobody", "x", ""), "NO_SUCH_QUEUE"), (r.Bind("p", "nowhere", ""), "NO_SUCH_EXCHANGE"),
        (r.Unbind("p", "nowhere", ""), "NO_SUCH_EXCHANGE"),
        (r.Publish("nowhere", "", b""), "NO_SUCH_EXCHANGE"),
        (m.Reserve(queue="nobody"), "NO_SUCH_QUEUE"), (m.Reserve(1.0, queue="nobody"), "NO_SUCH_QUEUE"),
        (r.Declare("topic", "x"), "KIND_CONFLICT"), (r.Declare("heap", "y"), "BAD_ARGUMENTS"),
        (r.Declare("queue", ""), "BAD_ARGUMENTS"), (r.Declare("queue", "ü" * 128), "BAD_ARGUMENTS"),
        (r.Bind("p", "x", "k" * 256), "BAD_ARGUMENTS"), (r.Publish("x", "k" * 256, b""), "BAD_ARGUMENTS"),
    ]:
        assert played.do(command).code == code, command
    assert played.do(r.Declare("fanout", "x")) == played.do(r.Declare("queue", "p")) == m.Ok()
    assert played.do(r.Topology()).data["exchanges"]["x"]["bindings"] == [("p", ""), ("q", "")]


def test_names_and_bindings_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played()
    monkeypatch.setattr(r, "NAMES_MAX", 3)
    monkeypatch.setattr(r, "BINDINGS_MAX", 2)
    bound(played.broker, "p", "q")
    assert played.do(r.Declare("queue", "one too many")).code == "TOPOLOGY_FULL"
    assert played.do(r.Bind("p", "x", "k")).code == "TOPOLOGY_FULL"
    assert played.do(r.Declare("queue", "p")) == played.do(r.Bind("p", "x", "")) == m.Ok()


def test_a_publish_is_refused_where_a_submit_is() -> None:
    weighed = Weighed(MemoryStore())
    broker = Broker(store=weighed)
    bound(broker, "p")
    server = LimitedServer(broker, "127.0.0.1", 0, Limits(jobs=1), weighed)
    try:
        with Wire(server.address) as wire:
            assert wire.ask("PUBLISH x  -- a") == "JOB_IDS [1]"
            assert wire.ask("PUBLISH x  -- b").startswith("ERROR QUEUE_FULL ")
            broker.drain(0.0)
            assert wire.ask("ACK 1").startswith("ERROR STALE ")
            broker.queue.jobs.clear()
            assert wire.ask("PUBLISH x  -- b").startswith("ERROR DRAINING ")
    finally:
        server.stop()


# ---- Who waits


def test_each_queue_wakes_its_own(played: Played) -> None:
    got: dict[str, Any] = {}

    def wait(name: str) -> None:
        got[name] = played.broker.execute(m.Reserve(DEADLINE_S, queue=name), played.broker.connect())

    threads = [threading.Thread(target=wait, args=[name]) for name in ("", "p", "q")]
    for thread in threads:
        thread.start()
    until(lambda: len(played.broker.waiting) == 3
          and all(condition._waiters for condition in played.broker.waiting.values()))
    played.do(r.Publish("x", "", b"hello"))
    for thread in threads[1:]:
        thread.join(DEADLINE_S)
    assert {name: reply.job for name, reply in got.items()} == {"p": 1, "q": 2}
    played.do(m.Submit(b"x"))
    threads[0].join(DEADLINE_S)
    assert got[""].job == 3


def test_who_waits_in_one_queue_lets_time_pass_in_all() -> None:
    played = Played(ack_timeout_s=0.1)
    bound(played.broker, "p", "q")
    played.do(r.Publish("x", "", b"hello"))
    played.take("p")
    assert played.broker.execute(m.Reserve(DEADLINE_S, queue="p"), played.broker.connect()).attempt == 2


# ---- What is kept


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> Kind:
    return STORES[request.param]


def test_queues_bindings_and_copies_outlive_a_restart_and_a_snapshot(kind: Kind, tmp_path: Path) -> None:
    def look(broker: Broker) -> Any:
        return broker.execute(r.Topology(), broker.connect()).data

    with opened(kind, tmp_path) as broker:
        bound(broker, "p", "q", "r")
        session = broker.connect()
        for command in (r.Declare("topic", "t"), r.Bind("p", "t", "a.*"), r.Unbind("r", "x", ""),
                        r.Publish("t", "b", b"nowhere"), r.Publish("x", "", b"hello"),
                        r.Publish("x", "", b"later", 3600.0, key="k")):
            broker.execute(command, session)
        before = look(broker)
        assert before["exchanges"]["t"] == {"kind": "topic", "bindings": [("p", "a.*")], "unroutable": 1}
        assert before["queues"]["q"] == {"delayed": 1, "pending": 1, "in_flight": 0, "failed": 0, "dead": 0}
    for compact in (False, True, False):
        with opened(kind, tmp_path) as broker:
            assert look(broker) == before
            if compact:
                broker.store._compact()
    with opened(kind, tmp_path) as broker:
        session = broker.connect()
        assert broker.execute(r.Publish("x", "", b"later", key="k"), session).data == [3, 4]
        assert broker.execute(m.Reserve(queue="q"), session).payload == b"hello"
        assert broker.execute(m.Reserve(queue="r"), session) == m.Empty()


@pytest.mark.parametrize("command", [r.Declare("queue", "new"), r.Bind("p", "x", "k"), r.Unbind("p", "x", ""),
                                     r.Publish("x", "", b"new"), r.Publish("x", "", b"old", key="k")],
                         ids=lambda command: type(command).__name__)
def test_nobody_is_told_before_it_is_safe(kind: Kind, tmp_path: Path, command: Any) -> None:
    with opened(kind, tmp_path) as broker:
        bound(broker, "p")
        told = threading.Event()

        def ask() -> None:
            broker.execute(command, broker.connect())
            told.set()

        session = broker.connect()
        session.gathers = True  # so that it does not wait
        go, sync = threading.Event(), broker.store._sync
        broker.store._sync = lambda: go.wait(DEADLINE_S) and sync()
        broker.execute(r.Publish("x", "", b"old", key="k"), session)
        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: broker.store.leading)
        assert not told.is_set()
        go.set()
        thread.join(DEADLINE_S)
        assert told.is_set()


# ---- In frames, and on the command line


def test_a_worker_in_frames_has_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    from dsjq.extensions.codings import Offering
    from dsjq.server import Link
    monkeypatch.setattr(Link, "first_coding", Offering)
    with serving() as server:
        bound(server.broker, "p")
        with Worker(*server.address, prefetch=3) as worker:
            assert worker.call(r.Publish("x", "", b"\xff\n")) == m.Report("JOB_IDS", [1])
            worker.call(m.Submit(b"not for me"))
            worker.queue = "p"
            assert [job.payload for job in worker.reserve_many(3)] == [b"\xff\n"]


@pytest.fixture
def port() -> Iterator[str]:
    with started([sys.executable, "-m", "dsjq", "serve", "--port", "0"]) as process:
        yield process.stdout.readline().split(":")[-1].strip()


def test_the_command_line_reaches_it_all(port: str) -> None:
    def dsjq(*words: str) -> str:
        command = [sys.executable, "-m", "dsjq", words[0], "--port", port, *words[1:]]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S)
        return result.stdout + result.stderr

    assert dsjq("declare", "topic", "logs") == dsjq("declare", "queue", "errors") == ""
    assert dsjq("bind", "errors", "logs", "*.error") == ""
    assert dsjq("publish", "logs", "kernel.error", "disk is full", "so is this") == "1\n2\n"
    assert "UNROUTABLE" in dsjq("publish", "logs", "kernel.info", "x")
    assert dsjq("topology") == ("queue (that of submit): no jobs\nqueue errors: 2 pending\n"
                                "topic logs: 1 unroutable\n  *.error -> errors\n")
    assert dsjq("unbind", "errors", "logs", "*.error") == ""
    assert "NO_SUCH_EXCHANGE" in dsjq("bind", "errors", "log")
    assert '"bindings": []' in dsjq("topology", "--json")
    worker = [sys.executable, "-m", "dsjq", "work", "--port", port, "--queue", "errors", "--exec", "cat"]
    with started(worker) as process:
        assert process.stdout.read(len("disk is fullso is this")) == "disk is fullso is this"
