"""Real processes: a whole run, a strike at an exact moment, and nothing left of a killed lab."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dsjq_lab import runs, workload
from dsjq_lab.brokers import Dsjq
from dsjq_lab.history import Op, read_history

ROOT = Path(__file__).parent.parent

FOUR_COMMANDS = '''
"""A broker that knows SUBMIT, REQUEST, ACK and FAIL, and no lease that ends."""
import socketserver, sys, threading

jobs, waiting, lock = [], [], threading.Lock()

class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        held = set()
        for line in self.rfile:
            verb, _, rest = line.decode().rstrip("\\n").partition(" ")
            with lock:
                self.wfile.write((self.answer(verb, rest, held) + "\\n").encode())
        with lock:
            waiting.extend(held)

    def answer(self, verb, rest, held):
        if verb == "SUBMIT":
            jobs.append(rest)
            waiting.append(len(jobs) - 1)
            return f"JOB_ID {len(jobs) - 1}"
        if verb == "REQUEST":
            if not waiting:
                return "EMPTY"
            held.add(waiting[0])
            return f"JOB {waiting[0]} {jobs[waiting.pop(0)]}"
        if verb in ("ACK", "FAIL") and int(rest) in held:
            held.remove(int(rest))
            if verb == "FAIL":
                waiting.append(int(rest))
            return "OK"
        return "ERROR NO"

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

Server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Connection).serve_forever()
'''


@pytest.fixture(autouse=True)
def runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSJQ_RUNS", str(tmp_path / "runs"))


def scenario(tmp_path: Path, faults: str, **load: object) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(f"""
scenario: 1
title: A test
story: A test.
broker: {{ack_timeout: 500ms}}
load: {json.dumps({"jobs": 6, **load})}
workers: {{count: 2, work_time: 10ms}}
finish_within: 20s
faults: {faults or "[]"}
""")
    return path


def ops_of(folder: Path) -> list[Op]:
    return read_history(folder / "history.jsonl").ops


def only(ops: list[Op], **wanted: object) -> list[Op]:
    return [op for op in ops if all(getattr(op, name) == value for name, value in wanted.items())]


def ending(ops: list[Op]) -> dict[str, object]:
    assert (ops[-1].process, ops[-1].f) == ("lab", "end")
    return ops[-1].value


def test_the_first_job_is_submitted_delivered_and_done():
    folder = runs.play(ROOT / "scenarios" / "first_job.yaml")
    ops = ops_of(folder)
    moments = [only(ops, f=f, type=type)[0].time_ns for f, type in
               [("submit", "invoke"), ("submit", "ok"), ("ack", "invoke"), ("ack", "ok")]]
    assert moments == sorted(moments)
    assert ending(ops)["drained"] and ending(ops)["healthy"]
    assert runs.find("first_job") == runs.find("latest") == folder.resolve()


def test_a_broker_with_four_commands_is_enough(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text(FOUR_COMMANDS)
    ops = ops_of(runs.play(scenario(tmp_path, "[{kill: worker 1, at: 50ms, restart_after: 50ms}]"),
                           broker=Dsjq(broker)))
    assert len({op.value["job"] for op in only(ops, f="ack", type="ok")}) == 6
    assert ending(ops)["drained"] and ending(ops)["healthy"]


def test_every_dead_job_is_listed_however_many_there_are(tmp_path):
    path = scenario(tmp_path, "", jobs=2 * workload.PAGE + 1)
    text = path.read_text()
    text = text.replace("ack_timeout: 500ms", "ack_timeout: 500ms, max_attempts: 1")
    path.write_text(text.replace("work_time: 10ms", "work_time: 0ms, fail_rate: 1"))
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
    assert any((op.error or "").startswith("UNREACHABLE") for op in only(ops, type="fail"))
    assert only(ops, type="info", error="timeout")
    assert ending(ops)["drained"] and ending(ops)["healthy"]


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
