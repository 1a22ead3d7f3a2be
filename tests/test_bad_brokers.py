"""Whatever is started as a broker, the lab ends soon, and says what was wrong with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from dsjq_lab.warden import LOG_BYTES_MAX

PATIENCE_S = 60  # on however busy a machine; each test takes a few seconds

SERVER = """
import os, signal, socket, subprocess, sys, threading, time
port = int(sys.argv[1])

def serve(answer, port=port, host="127.0.0.1", reuse=1, first=lambda listener: None):
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    listener.bind((host, port))
    listener.listen()
    first(listener)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=[connection], daemon=True).start()

def always(reply):
    def answer(connection):
        try:
            for line in connection.makefile("rb"):
                connection.sendall(reply)
        except OSError:
            pass
    return answer

jobs, waiting, lock = [], [], threading.Lock()

def honest(connection):
    for line in connection.makefile("rb"):
        verb, _, rest = line.decode().rstrip("\\n").partition(" ")
        with lock:
            if verb == "SUBMIT":
                jobs.append(rest)
                waiting.append(len(jobs) - 1)
                reply = f"JOB_ID {len(jobs) - 1}"
            elif verb == "REQUEST" and waiting:
                reply = f"JOB {waiting[0]} {jobs[waiting.pop(0)]}"
            else:
                reply = {"REQUEST": "EMPTY", "ACK": "OK"}.get(verb, "ERROR NO")
        connection.sendall(reply.encode() + b"\\n")
"""

DAEMON = """
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.01)
    serve(honest)
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str
    log: Path


@pytest.fixture
def lab(tmp_path: Path):
    """Plays a short scenario with the broker whose last lines these are."""
    def run(broker: str, faults: str = "[]", finish_within: str = "4s") -> Ended:
        (tmp_path / "broker.py").write_text(SERVER + broker)
        scenario = tmp_path / "story.yaml"
        scenario.write_text(f"""
scenario: 1
title: A test
story: A test.
broker: {{ack_timeout: 1s}}
load: {{jobs: 3}}
faults: {faults}
finish_within: {finish_within}
""")
        command = f"{sys.executable} {tmp_path}/broker.py {{port}}"
        words = [sys.executable, "-m", "dsjq_lab", "run", str(scenario), "--broker-cmd", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        log = tmp_path / "runs" / "story" / "latest" / "logs" / "broker.log"
        return Ended(done.returncode, done.stdout, done.stderr, log)

    return run


def test_an_honest_one_is_enough(lab):
    assert lab("serve(honest)").code == 0


@pytest.mark.parametrize(
    ("broker", "complaint"),
    [
        ("time.sleep(1000)", "runs, but did not listen on port"),
        ("sys.exit('no licence')", "exit status 1"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        (DAEMON, "went into the background"),
        ("serve(honest, port=0)", "it listens on 127.0.0.1:"),
        ("serve(honest, host='::1')", "it listens on ::1:"),
    ],
    ids=["deaf", "crash", "signal", "daemon", "any port", "another address"],
)
def test_one_that_is_never_ready_gets_no_verdict_but_a_reason(broker, complaint, lab):
    ended = lab(broker, finish_within="1s")
    assert ended.code == 3
    assert "no verdict: broker " in ended.err and complaint in ended.err


def test_the_last_words_are_shown(lab):
    assert "no licence" in lab("sys.exit('no licence')", finish_within="1s").err


@pytest.mark.parametrize(
    "broker",
    [
        "serve(always(b'what?\\n'))",
        "serve(always(b'\\xff\\x00\\n'))",
        "serve(always(b'OK\\n'))",
        "serve(lambda connection: connection.sendall(b'la\\n' * 1000000))",
    ],
    ids=["words", "bytes", "OK", "unasked"],
)
def test_nonsense_is_a_violation(broker, lab):
    ended = lab(broker)
    assert ended.code == 1
    assert "VIOLATED   replies_match" in ended.out


@pytest.mark.parametrize(
    "broker",
    [
        "serve(always(b'ERROR NO\\n'))",
        "serve(always(b'OK'))",
        "serve(always(b'la ' * 1000000))",
        "serve(always(b''))",
        "serve(socket.socket.close)",
        "serve(lambda connection: time.sleep(1000))",
        "serve(lambda connection: os._exit(3))",
    ],
    ids=["no to all", "no line end", "no end", "silence", "hangs up", "stuck", "dies"],
)
def test_one_with_which_nothing_gets_done_is_found_out(broker, lab):
    ended = lab(broker)
    assert ended.code in (1, 4)  # 4: it leaves the lab too little of the machine
    assert "  Unrest " in ended.out
    assert "VIOLATED   everything_finishes" in ended.out or "too busy" in ended.out


def test_one_that_dies_at_the_first_client_is_said_to_have_died(lab):
    assert "ended by itself, status 3" in lab("serve(lambda connection: os._exit(3))").out


@pytest.mark.parametrize(
    ("then", "codes"),
    [("time.sleep(1000)", [3]), ("serve(honest)", [0, 4])],  # 4: it leaves the lab too little of the machine
    ids=["deaf", "otherwise honest"],
)
def test_a_flood_of_output_is_bounded(then, codes, lab):
    ended = lab(f"subprocess.Popen(['yes']); {then}")
    assert ended.code in codes
    with ended.log.open("rb") as log:
        assert b"the lab cut this log here" in log.read(LOG_BYTES_MAX)
        assert not log.read(1)


FORGETFUL = """
def hang_up_on_somebody(listener):  # who ends a connection first must remember it
    guest = socket.create_connection(("127.0.0.1", port))
    listener.accept()[0].close()
    guest.close()
serve(honest, reuse=0, first=hang_up_on_somebody)
"""
KILLED = "[{when: {acked: 2}, kill: broker, restart_after: 100ms}]"


def test_one_that_forgot_so_reuseaddr_is_told_so(lab):
    ended = lab(FORGETFUL, KILLED)
    assert ended.code == 1
    assert "SO_REUSEADDR" in ended.out


def test_one_that_ignores_sigterm_hangs_nothing(lab):
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve(honest)"
    ended = lab(deaf, "[{when: {acked: 1}, term: broker, restart_after: 100ms}]")
    assert ended.code in (0, 1, 4)  # killed in the end, as the scenario meant it to be ended


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("python3 mine.py", "write {port} into its command"),
        ("python3 mine.py {prot}", "{prot} stands for nothing (did you mean port?)"),
        ("no-such-program {port}", "no such program, or it may not be executed: no-such-program"),
        ("python3 'mine.py {port}", "not a command line"),
    ],
)
def test_a_command_that_cannot_work_is_bad_usage(command, complaint):
    words = [sys.executable, "-m", "dsjq_lab", "run", "first_job", "--broker-cmd", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, complaint in done.stderr) == (2, True), done.stderr


def test_its_command_is_kept_and_played_again(lab):
    ended = lab("serve(honest)")
    run = ended.log.parents[1].resolve()
    words = [sys.executable, "-m", "dsjq_lab", "run", str(run), "--json"]
    again = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=PATIENCE_S).stdout)
    first, second = ((Path(folder) / "history.jsonl").open().readline() for folder in (run, again["run"]))
    assert json.loads(first)["broker"] == json.loads(second)["broker"]
    assert json.loads(second)["options"] == {"core": True}
