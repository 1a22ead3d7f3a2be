"""Real servers, started and struck by the lab. In CI these tests fail where a server is missing."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playing import ROOT, came_to_rest, only, ops_of, scenario

from dsjq_lab import brokers, results, runs
from dsjq_lab.brokers import real
from dsjq_lab.errors import LabError, UsageError
from dsjq_lab.ports import PortLease
from dsjq_lab.processes import Processes
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import HOLDS

WORKER_DIES = "[{when: {delivered: 2}, kill: that worker, restart_after: 50ms}]"
BROKER_DIES = "[{when: {before_ack: 3}, kill: broker, restart_after: 50ms}]"
PATIENT = ("broker.ack_timeout=2s",)  # libraries take their time on a busy machine
GENTLE = ["rabbitmq", "redis-stream", "nats", "beanstalkd"]  # they give a job back whose worker died
SERVERS = {"redis-server", "nats-server", "beanstalkd", "beam.smp", "epmd"}


def kind(name: str) -> real.Real:
    try:
        return real.KINDS[name]()
    except LabError as missing:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(str(missing))


def violated(folder: Path) -> set[str]:
    return {ruling.verdict.invariant for ruling in results.judged(folder).with_standing("violated")}


def left_over(folder: Path) -> list[psutil.Process]:
    """Servers that were started for this run, and outlived it."""
    mine = str(folder.resolve() / "data")
    return [process for process in psutil.process_iter(["name", "environ"])
            if process.info["name"] in SERVERS and mine in str((process.info["environ"] or {}).values())]


@pytest.mark.parametrize("name", GENTLE)
def test_a_broker_that_lends_its_jobs_loses_none_with_a_worker(name: str, tmp_path: Path) -> None:
    folder = runs.play(scenario(tmp_path, WORKER_DIES), broker=kind(name), variation=Variation(PATIENT))
    ops = ops_of(folder)
    assert came_to_rest(ops)
    assert len({op.value["job"] for op in only(ops, f="ack", type="ok")}) == 6
    assert len(only(ops, f="connect", type="ok")) > 3  # also the worker that came back
    assert violated(folder) == set()
    assert not left_over(folder)


def test_a_list_that_is_popped_loses_the_job_of_a_worker_that_dies(tmp_path: Path) -> None:
    story = scenario(tmp_path, WORKER_DIES, finish_within="8s")
    folder = runs.play(story, broker=kind("redis-list"), variation=Variation(PATIENT))
    assert violated(folder) == {"no_lost_job", "everything_finishes"}


@pytest.mark.parametrize("name", ["redis-stream", "beanstalkd", "nats"])
@pytest.mark.parametrize("store", ["memory", "journal"])
def test_what_survives_a_kill_was_to_be_kept(name: str, store: str, tmp_path: Path) -> None:
    story = scenario(tmp_path, BROKER_DIES, finish_within="8s")
    variation = Variation((*PATIENT, f"broker.store={store}"))
    folder = runs.play(story, broker=kind(name), variation=variation)
    assert ("no_lost_job" in violated(folder)) == (store == "memory")
    assert results.judged(folder).model.header.durable == (store == "journal")


def test_a_quorum_queue_is_settled_before_its_broker_is_killed(tmp_path: Path) -> None:
    story = scenario(tmp_path, BROKER_DIES, finish_within="8s")
    folder = runs.play(story, broker=kind("rabbitmq-quorum"), variation=Variation(PATIENT))
    result = results.judged(folder)
    assert (result.outcome, result.model.incarnations) == ("pass", 2)
    assert (result.model.header.durable, result.model.header.max_attempts) == (True, 5)
    assert not left_over(folder)


def test_who_polls_beanstalkd_does_not_wait_and_may_have_shorter_leases() -> None:
    place = brokers.Place("127.0.0.1", 7, Path(), 1.0, 5, "memory")
    told = {name: (kind(name).ack_timeout_s(0.7), kind(name).introduce(place)["wait_s"])
            for name in ("beanstalkd", "beanstalkd-polled")}  # fmt: skip
    assert told == {"beanstalkd": (3.0, 1), "beanstalkd-polled": (1.0, 0)}


def test_rabbitmq_copies_what_is_published_as_the_bindings_say(tmp_path: Path) -> None:
    topic = ("topic.bindings={ends: ['#.end', end], middle: ['a.*.b']}", "topic.keys=[end, a..b, nobody, '']")
    variation = Variation((*PATIENT, *topic, "faults=[]", "load.jobs=20"))
    folder = runs.play(ROOT / "scenarios" / "topic_fanout.yaml", broker=kind("rabbitmq"), variation=variation)
    (judged,) = (r.verdict for r in results.judged(folder).rulings if r.verdict.invariant == "routed_right")
    assert judged.status == HOLDS
    published = only(ops_of(folder), f="publish")
    told = {(op.value["key"], op.type, (op.error or "")[:16]) for op in published if op.type != "invoke"}
    assert told == {("end", "ok", ""), ("a..b", "ok", ""),
                    ("nobody", "fail", "ERROR UNROUTABLE"), ("", "fail", "ERROR UNROUTABLE")}  # fmt: skip
    assert only(ops_of(folder), f="taken", type="ok")


@pytest.mark.parametrize("name", ["redis-list", "redis-stream", "nats", "beanstalkd"])
def test_a_topic_is_not_played_where_there_are_no_exchanges(name: str) -> None:
    with pytest.raises(LabError, match=f"topic_fanout is not played with {name}: it has no exchanges"):
        runs.play(ROOT / "scenarios" / "topic_fanout.yaml", broker=kind(name))


@pytest.mark.parametrize(("name", "verb"), [
    ("corrupted_wire", "corrupt"), ("sliced_and_joined", "coalesce"), ("reply_lost_on_the_way", "lose_reply"),
])  # fmt: skip
def test_what_must_understand_the_clients_is_not_played_with_them(name: str, verb: str) -> None:
    """It would make nonsense of what is said, and the broker would be accused of that."""
    with pytest.raises(LabError, match=f"{name} is not played with redis-stream: a {verb} does not"):
        runs.play(ROOT / "scenarios" / f"{name}.yaml", broker=kind("redis-stream"))


def test_nats_keeps_a_dead_job_in_its_stream(tmp_path: Path) -> None:
    broker = kind("nats")
    from dsjq_lab.clients.nats import CONSUMER, Nats

    with PortLease() as lease, Processes(tmp_path / "logs") as processes:
        place = brokers.Place("127.0.0.1", lease.port, tmp_path, 2.0, max_attempts=1, store="memory")
        process = processes.spawn("nats", broker.command(place))
        processes.wait_ready(process, lease.port, timeout_s=10)
        client = Nats({**broker.introduce(place), "ack_timeout_s": 2.0}, timeout_s=5)
        assert client.ask("SUBMIT a job") == "JOB_ID 1"
        assert client.ask("REQUEST") == "JOB 1 a job"
        assert client.ask("FAIL 1") == "OK"
        consumer = client.wait(client.stream.consumer_info(broker.queue, CONSUMER))
        stream = client.wait(client.stream.stream_info(broker.queue))
        assert (consumer.num_pending, stream.state.messages) == (0, 1)
        client.close()


def test_a_server_that_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabError, match="nats-server on PATH: apt-get install nats-server"):
        real.Nats()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"no Python module redis: pip install 'dsjq-lab\[brokers\]'"):
        real.at("redis://somewhere")


def test_a_broker_is_found_by_its_name_or_its_address() -> None:
    kind("redis-list")
    assert isinstance(brokers.under_study("redis-list", None), real.RedisList)
    attached = brokers.under_study("redis-list://me:secret@host:1", None)
    assert isinstance(attached, real.RedisList)
    assert attached.attached == "redis://me:secret@host:1"
    assert attached.options()["address"] == "redis://host:1"
    with pytest.raises(UsageError, match=r"no broker is reached by redi:// \(did you mean redis\?\)"):
        brokers.under_study("redi://host", None)
    with pytest.raises(UsageError, match="did you mean beanstalkd"):
        brokers.under_study("beanstalk", None)


@pytest.fixture
def redis_elsewhere(tmp_path: Path) -> Iterator[str]:
    """One that is not of the lab."""
    server = kind("redis-stream")
    data = tmp_path / "elsewhere"
    data.mkdir()
    with PortLease() as lease, Processes(tmp_path / "logs") as processes:
        place = brokers.Place("127.0.0.1", lease.port, data, 1.0, 5, "memory")
        process = processes.spawn("redis", server.command(place))
        processes.wait_ready(process, lease.port, timeout_s=10)
        yield f"redis://127.0.0.1:{lease.port}"
        assert not processes.has_ended(process)


def test_one_that_already_runs_is_used_and_never_struck(redis_elsewhere: str, tmp_path: Path) -> None:
    patient = Variation(PATIENT)
    folder = runs.play(scenario(tmp_path, WORKER_DIES), broker=real.at(redis_elsewhere), variation=patient)
    assert results.judged(folder).outcome == "pass"
    limited = "[{at: 0s, fd_limit: broker, for: 1s}]"
    for faults, why in ((BROKER_DIES, "kill broker"), (limited, "there before the lab, which limits only")):
        story = scenario(tmp_path, faults, finish_within="8s")
        folder = runs.play(story, broker=real.at(redis_elsewhere), variation=patient)
        result = results.judged(folder)
        assert result.outcome == "unknown"
        assert any(why in reason for reason in result.unproven)


def test_the_network_on_the_way_to_one_that_already_runs_can_be_bad(
    redis_elsewhere: str, tmp_path: Path
) -> None:
    story = scenario(tmp_path, "[{when: {before_ack: 2}, reset: that worker}]")
    folder = runs.play(story, broker=real.at(redis_elsewhere), variation=Variation(PATIENT))
    assert results.judged(folder).outcome == "pass"
    (struck,) = [op for op in only(ops_of(folder), f="reset") if op.value["phase"] == "struck"]
    assert struck.value["connections"] >= 1
    said = only(ops_of(folder), process="network", f="message")
    assert {op.value["line"] for op in said} == {None}, "bytes of a protocol that the lab does not know"


def test_an_address_leads_there_or_to_the_proxy_and_nothing_else_of_it_changes() -> None:
    place = brokers.Place("127.0.0.1", 7, Path(), 1.0, 5, "memory")
    broker = real.at("redis-list://me:secret@host/2")
    assert broker.reached_at(place)[:2] == ("host", 6379)
    assert broker.introduce(place)["url"] == "redis://me:secret@127.0.0.1:7/2"
    assert real.at("amqp://[::1]:5").introduce(real.at("amqp://[::1]:5").reached_at(place))["url"] == "amqp://[::1]:5"
    assert real.Nats().introduce(place)["url"] == "nats://127.0.0.1:7"
