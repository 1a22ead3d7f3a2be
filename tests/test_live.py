"""Real processes: a whole run, a strike at an exact moment, and nothing left of a killed lab."""
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
from playing import FOUR_COMMANDS, ROOT, came_to_rest, ending, only, ops_of, scenario

from dsjq_lab import runs, workload
from dsjq_lab.brokers import Command, Dsjq
from dsjq_lab.live import Channel
from dsjq_lab.results import FOLDERLESS, judged
from dsjq_lab.variation import Variation


def test_the_first_job_is_submitted_delivered_and_done():
    folder = runs.play(ROOT / "scenarios" / "first_job.yaml")
    ops = ops_of(folder)
    moments = [only(ops, f=f, type=type)[0].time_ns for f, type in
               [("submit", "invoke"), ("submit", "ok"), ("ack", "invoke"), ("ack", "ok")]]
    assert moments == sorted(moments)
    assert came_to_rest(ops)
    assert runs.find("first_job") == runs.find("latest") == folder.resolve()


def test_a_broker_with_four_commands_is_enough(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text(FOUR_COMMANDS)
    ops = ops_of(runs.play(scenario(tmp_path, "[{kill: worker 1, at: 50ms, restart_after: 50ms}]"),
                           broker=Dsjq(broker)))
    assert len({op.value["job"] for op in only(ops, f="ack", type="ok")}) == 6
    assert came_to_rest(ops)


def test_a_broker_that_is_given_no_folder_is_not_held_to_what_was_in_it(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text(FOUR_COMMANDS)
    path = scenario(tmp_path, "[{kill: broker, when: {acked: 3}, restart_after: 0s}]")
    for data, durable in (("", False), ("--data {data}", True)):
        command = Command(f"{sys.executable} {broker} --port {{port}} {data}")
        result = judged(runs.play(path, broker=command, variation=Variation(("broker.store=journal",))))
        assert result.model.header.durable is durable
        assert (FOLDERLESS in result.unproven) is not durable
        verdicts = {ruling.verdict.invariant: ruling.verdict.status for ruling in result.rulings}
        assert verdicts["no_lost_job"] == "violated"


def test_every_dead_job_is_listed_however_many_there_are(tmp_path):
    path = scenario(tmp_path, "", jobs=2 * workload.PAGE + 1, max_attempts=1,
                    workers={"work_time": "0ms", "fail_rate": 1})
    ops = ops_of(runs.play(path))
    listed = {job["id"] for op in only(ops, f="dead", type="ok") for job in op.value["dead"]}
    assert len(listed) == 2 * workload.PAGE + 1
    assert ending(ops)["drained"]


def test_an_exact_fault_strikes_between_the_job_and_its_ack(tmp_path):
    ops = ops_of(runs.play(scenario(tmp_path, "[{when: {before_ack: 3}, pause: that worker, for: 1s}]")))
    begin, struck, end = only(ops, f="pause", process="nemesis")
    assert [op.value["phase"] for op in (begin, struck, end)] == ["begin", "struck", "end"]
    assert begin.value["exact"]
    his = only(ops, process=begin.value["victim"])
    before = [op for op in his if op.time_ns < begin.time_ns][-1]
    after = next(op for op in his if op.time_ns > begin.time_ns)
    assert (before.type, before.f, after.type, after.f) == ("ok", "reserve", "invoke", "ack")
    assert before.value["token"] == after.value["token"]
    assert after.time_ns > struck.time_ns + 900_000_000


def test_the_broker_is_restarted_and_everybody_goes_on(tmp_path):
    faults = "[{restart: broker, at: 100ms, down_for: 200ms}, {when: {acked: 9}, pause: broker, for: 400ms}]"
    ops = ops_of(runs.play(scenario(tmp_path, faults, rate="20/s", jobs=20)))
    assert [op.value["incarnation"] for op in only(ops, f="broker_ready")] == [1, 2]
    assert any((op.error or "").startswith("UNREACHABLE") for op in only(ops, f="connect", type="fail"))
    assert only(ops, type="info", error="timeout")
    assert came_to_rest(ops)


def test_everybody_connects_before_they_ask(tmp_path):
    ops = ops_of(runs.play(scenario(tmp_path, "")))
    greetings = only(ops, f="connect", type="ok")
    assert {op.process for op in greetings} == {"auditor", "worker 1", "worker 2", "producer 1"}
    assert {op.value["greeting"] for op in greetings} == {"OK"}
    connected = {op.value["conn"]: op.time_ns for op in greetings}
    asked = [op for op in only(ops, type="invoke") if op.f != "connect"]
    assert all(connected[op.value["conn"]] <= op.time_ns for op in asked)


def test_a_core_broker_is_neither_greeted_nor_audited(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text(FOUR_COMMANDS)
    black_box = Dsjq(broker)
    black_box.core = True
    ops = ops_of(runs.play(scenario(tmp_path, "[{when: {acked: 1}, kick: dead jobs}]"), broker=black_box))
    assert {op.value["greeting"] for op in only(ops, f="connect", type="ok")} == {None}
    assert not only(ops, process="auditor") and not only(ops, process="nemesis")
    assert came_to_rest(ops)


def test_a_job_that_a_black_box_loses_is_not_waited_for_longer_than_it_may_owe_it(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text(FOUR_COMMANDS.replace("waiting.extend(held)", "pass"))
    black_box = Dsjq(broker)
    black_box.core = True
    faults = "[{when: {delivered: 1}, kill: that worker, restart_after: 0s}]"
    ops = ops_of(runs.play(scenario(tmp_path, faults), broker=black_box))
    assert came_to_rest(ops)
    assert len({op.value["job"] for op in only(ops, f="ack", type="ok")}) == 5
    assert 2.5e9 < ops[-1].time_ns - only(ops, f="ack")[-1].time_ns < 10e9  # lease and two tolerances


def test_a_broker_that_dies_by_itself_ends_the_run(tmp_path):
    broker = tmp_path / "broker.py"
    enough = "jobs.append(rest) if len(jobs) < 4 else os._exit(7)"
    broker.write_text("import os\n" + FOUR_COMMANDS.replace("jobs.append(rest)", enough))
    ops = ops_of(runs.play(scenario(tmp_path, "", finish_within="20s"), broker=Dsjq(broker)))
    assert "the broker ended by itself, status 7" in str(ending(ops)["why"])
    assert ops[-1].time_ns - ops[0].time_ns < 10e9


def test_what_the_broker_uses_is_measured_before_and_after(tmp_path):
    ops = ops_of(runs.play(scenario(tmp_path, "[{restart: broker, when: {acked: 6}}]")))
    measured = only(ops, f="resources")
    assert [(op.value["moment"], op.value["incarnation"]) for op in measured] == [
        ("ready", 1), ("ready", 2), ("end", 2)]
    first, _, last = (op.value for op in measured)
    assert last["threads"] == first["threads"] == 2 and last["descriptors"] == first["descriptors"]
    assert last["resident_bytes"] > 1_000_000


def test_a_broker_that_still_works_for_those_who_have_gone_has_not_leaked(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text("""
import sys, time
from dsjq import cli
from dsjq.extensions.limits import LimitedLink, LimitedServer

class Laborious(LimitedLink):
    def serve(self):
        super().serve()
        until_s = time.process_time() + 3
        while time.process_time() < until_s:
            pass

LimitedServer.link = Laborious
cli.main(["serve", *sys.argv[1:]])
""")
    ops = ops_of(runs.play(scenario(tmp_path, ""), broker=Dsjq(broker)))
    ready, end = (op.value for op in only(ops, f="resources"))
    assert end["cpu_ms"] - ready["cpu_ms"] > 2_500, "it was not busy when the clients had gone"
    assert end["threads"] == ready["threads"]


def test_what_the_broker_records_is_told_in_the_history(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text("""
import json, os, runpy, sys, time
with open(os.environ.pop("DSJQ_TRACE"), "a") as trace:
    for line in {"start": True}, {"record": "Submitted", "job": 1}:
        trace.write(json.dumps({"time_ns": time.monotonic_ns(), **line}) + "\\n")
    trace.write("torn")
sys.argv.insert(1, "serve")
runpy.run_module("dsjq", run_name="__main__")
""")
    ops = ops_of(runs.play(scenario(tmp_path, ""), broker=Dsjq(broker)))
    assert [(op.f, op.value) for op in ops[:3]] == [
        ("start", {"incarnation": 1}), ("record", {"record": "Submitted", "job": 1}),
        ("broker_ready", {"incarnation": 1})]
    assert ending(ops)["drained"]


def test_last_words_are_heard_of_one_who_died_with_a_word_of_ours_unread():
    ours, theirs = socket.socketpair()
    with ours:
        channel = Channel(ours)
        ours.sendall(b"go\n")
        theirs.sendall(b"its last words\nand half a")
        theirs.close()
        assert channel.receive() == [b"its last words"] and not channel.ended
        assert channel.receive() == [] and channel.ended


def test_nothing_is_left_of_a_killed_lab(tmp_path):
    story = scenario(tmp_path, "[{when: {delivered: 1}, pause: that worker, for: 15s}]")
    lab = subprocess.Popen([sys.executable, "-c", "import sys; from pathlib import Path; "
                            "from dsjq_lab import runs; runs.play(Path(sys.argv[1]))", story])
    history = tmp_path / "runs" / "story" / "latest" / "history.jsonl"
    deadline = time.monotonic() + 20
    while not (history.exists() and '"struck"' in history.read_text()):
        assert time.monotonic() < deadline and lab.poll() is None
        time.sleep(0.01)
    everybody = psutil.Process(lab.pid).children(recursive=True)
    assert len(everybody) >= 4
    os.kill(lab.pid, signal.SIGKILL)
    lab.wait()
    _, alive = psutil.wait_procs(everybody, timeout=2)
    assert not alive
