"""`dsjq` as it is typed."""
import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_server import DEADLINE_S, ROOT, serving, serving_process, start, until

from dsjq import Producer, Worker
from dsjq import messages as m
from dsjq.cli import main
from dsjq.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(max_attempts=1) as server:
        yield server


@pytest.fixture
def producer(server: Server) -> Iterator[Producer]:
    with Producer(*server.address) as producer:
        yield producer


class Shell:
    """Types `dsjq` commands at one server."""

    def __init__(self, server: Server, capsys: pytest.CaptureFixture[str]):
        self.port, self.capsys = str(server.address[1]), capsys

    def __call__(self, command: str, *words: str) -> str:
        """What it prints; it must succeed."""
        with pytest.raises(SystemExit) as caught:
            main([command, "--port", self.port, *words])
        assert caught.value.code == 0
        return self.capsys.readouterr().out

    def refuses(self, command: str, *words: str) -> str:
        """What it complains of; it must not succeed."""
        with pytest.raises(SystemExit) as caught:
            main([command, "--port", self.port, *words])
        assert caught.value.code != 0
        return str(caught.value.code) + self.capsys.readouterr().err


@pytest.fixture
def dsjq(server: Server, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(server, capsys)


def make_dead(server: Server, count: int) -> None:
    """The first `count` jobs fail their only attempt."""
    with Worker(*server.address) as worker:
        for _ in range(count):
            worker.fail(worker.reserve())


@contextlib.contextmanager
def working(server: Server, *command: str) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "dsjq", "work", "--port", str(server.address[1]), "--exec", *command]
    with start(words) as process:
        try:
            yield process
        finally:
            process.kill()


def state(producer: Producer, id: int) -> str:
    return producer.call(m.Status(id)).data["state"]


# ---- submit, stats, jobs, kick


def test_submit_prints_the_ids(dsjq: Shell) -> None:
    assert dsjq("submit", "a", "b c") == "1\n2\n"


def test_submit_reads_lines(dsjq: Shell, producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("one\r\n\nthrée\n".encode())))
    assert dsjq("submit", "-") == "1\n2\n3\n"
    assert [producer.call(m.Status(id)).data["payload"] for id in (1, 2, 3)] == ["one", "", "thrée"]


def test_submit_with_its_own_terms(dsjq: Shell, producer: Producer) -> None:
    assert dsjq("submit", "--delay", "1h", "--retries", "0", "later") == "1\n"
    assert dsjq("submit", "--priority", "-3", "--lease", "2m", "first", "second") == "2\n3\n"
    assert dsjq("submit", "--key", "k", "once") == dsjq("submit", "--key", "k", "once") == "4\n"
    assert [state(producer, id) for id in (1, 2)] == ["DELAYED", "PENDING"]
    assert "KEY_CONFLICT" in dsjq.refuses("submit", "--key", "k", "other")
    assert "one job" in dsjq.refuses("submit", "--key", "k", "two", "jobs")
    assert "BAD_ARGUMENTS" in dsjq.refuses("submit", "--priority", "10", "x")


def test_submit_says_which_job_it_stopped_at(dsjq: Shell) -> None:
    assert "job 2 was not submitted" in dsjq.refuses("submit", "fine", "two\nlines", "never")
    assert json.loads(dsjq("stats", "--json"))["submitted"] == 1


def test_stats(dsjq: Shell, server: Server) -> None:
    dsjq("submit", "a", "b")
    with Worker(*server.address, name="wendy") as worker:
        worker.reserve()
        text = dsjq("stats")
        assert "submitted   2\n" in text and "in_flight   1\n" in text
        assert "wendy holds 1\n" in text
        stats = json.loads(dsjq("stats", "--json"))
        assert stats["pending"] == stats["in_flight"] == 1
        assert {"name": "wendy", "jobs": [1]} in stats["workers"]


def test_jobs(dsjq: Shell, server: Server) -> None:
    dsjq("submit", "bell\a", "b")
    make_dead(server, 1)
    dead, pending = "     1  DEAD       attempts 1  bell\\x07\n", "     2  PENDING    attempts 0  b\n"
    assert dsjq("jobs") == dead + pending
    assert dsjq("jobs", "--state", "DEAD") == dead


def test_jobs_as_json_turns_the_pages(dsjq: Shell, producer: Producer) -> None:
    for n in range(150):
        producer.submit(f"{n} " + "x" * 20_000)
    jobs = [json.loads(line) for line in dsjq("jobs", "--json").splitlines()]
    assert [job["id"] for job in jobs] == list(range(1, 151))


def test_kick(dsjq: Shell, server: Server, producer: Producer) -> None:
    dsjq("submit", "a", "b", "c")
    make_dead(server, 3)
    assert dsjq("kick", "2") == "2\n"
    assert dsjq("kick", "--all") == "1\n3\n"
    assert [state(producer, id) for id in (1, 2, 3)] == ["PENDING"] * 3
    assert "NOT_DEAD" in dsjq.refuses("kick", "1")
    assert "NO_SUCH_JOB" in dsjq.refuses("kick", "99")
    assert "--all" in dsjq.refuses("kick")


# ---- work


def test_work_acknowledges_exit_0(server: Server, producer: Producer, tmp_path: Path) -> None:
    producer.submit("to stdin")
    with working(server, "sh", "-c", f"cat > {tmp_path}/out") as process:
        until(lambda: state(producer, 1) == "DONE")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    assert (tmp_path / "out").read_text() == "to stdin"


@pytest.mark.parametrize("command", ["false", "/no/such/command"])
def test_work_fails_the_job_of_any_other_end(server: Server, producer: Producer, command: str) -> None:
    producer.submit("x")
    with working(server, command) as process:
        until(lambda: state(producer, 1) == "DEAD")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert "job 1, attempt 1: " in process.stderr.read()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_work_finish_the_job_in_hand(server: Server, producer: Producer, tmp_path: Path,
                                                   signum: int) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    producer.submit("in hand")
    producer.submit("not begun")
    wait = f"touch {started}; until [ -e {go} ] || ! kill -0 $PPID; do sleep 0.01; done"
    with working(server, "sh", "-c", wait) as process:
        until(started.exists)
        process.send_signal(signum)
        go.touch()
        assert process.wait(DEADLINE_S) == 0
    assert (state(producer, 1), state(producer, 2)) == ("DONE", "PENDING")


# ---- serve, and bad usage


def test_serve_takes_its_options() -> None:
    with serving_process("--ack-timeout", "250ms", "--max-attempts", "1") as (_, address), \
            Producer(*address) as producer, Worker(*address) as worker:
        producer.submit("x")
        job = worker.reserve()
        assert job.lease_s == 0.25
        until(lambda: state(producer, 1) == "DEAD")


@pytest.mark.parametrize("words", [
    *[["serve", "--ack-timeout", bad] for bad in ("30", "0s", "-1s", "1d", "1.s", "s", "1e3s", "٣s", "")],
    *[["serve", "--max-attempts", bad] for bad in ("0", "-1", "1.5", "many")],
    ["serve", "--backoff", "2"], ["serve", "--grace", "soon"], ["submit", "--delay", "1", "x"],
    ["submit", "--priority", "high", "x"], ["submit", "--retries", "1.5", "x"],
    ["kick", "zero"], ["jobs", "--state", "dead"], ["work"], ["submit"], ["dance"], [],
])
def test_bad_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: dsjq" in capsys.readouterr().err


def test_a_port_that_cannot_be() -> None:
    result = subprocess.run([sys.executable, "-m", "dsjq", "serve", "--port", "99999"], cwd=ROOT,
                            capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == 1
    assert result.stderr.startswith("dsjq: cannot listen on 127.0.0.1:99999: ")


def test_nobody_there(dsjq: Shell, server: Server) -> None:
    with serving() as other:
        dsjq.port = str(other.address[1])
    assert "UNREACHABLE" in dsjq.refuses("stats")
