"""A running server, seen from its sockets."""
import contextlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.server import UNSENT_MAX, Link, Server

ROOT = Path(__file__).parents[1]
DEADLINE_S = 20.0


class Wire:
    """A client that speaks lines, and knows no more of the protocol than `nc` does."""

    def __init__(self, address: tuple[str, int]):
        self.socket = socket.create_connection(address, DEADLINE_S)
        self.replies = self.socket.makefile("rb")

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def read(self) -> str:
        return self.replies.readline().decode().removesuffix("\n")

    def ask(self, line: str) -> str:
        self.send(line + "\n")
        return self.read()

    def close(self) -> None:
        self.replies.close()
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@contextlib.contextmanager
def serving(ack_timeout_s: float = 30.0, max_attempts: int = 5) -> Iterator[Server]:
    threads = set(threading.enumerate())
    server = Server(Broker(ack_timeout_s, max_attempts))
    try:
        yield server
    finally:
        server.stop()
        assert not server.links and not server.broker.sessions
    until(lambda: set(threading.enumerate()) <= threads)


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the test, however that ends."""
    with start(command) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def serving_process(*options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    command = [sys.executable, "-m", "dsjq", "serve", "--port", "0", *options]
    with started(command) as process:
        ready = process.stdout.readline()
        found = re.fullmatch(r"listening on (127\.0\.0\.1):(\d+)\n", ready)
        assert found, ready
        yield process, (found[1], int(found[2]))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def waiting(server: Server, count: int) -> Callable[[], bool]:
    """Whether so many sit in a RESERVE. No one outside may know, so a test looks inside."""
    return lambda: len(server.broker.work._waiters) == count


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def a(server: Server) -> Iterator[Wire]:
    with Wire(server.address) as wire:
        yield wire


@pytest.fixture
def b(server: Server) -> Iterator[Wire]:
    with Wire(server.address) as wire:
        yield wire


# ---- Lines in, lines out


def test_a_session_by_hand(a: Wire) -> None:
    a.send("SUBMIT hello\nREQUEST\nACK 1\n")
    a.socket.shutdown(socket.SHUT_WR)
    assert a.replies.read() == b"JOB_ID 1\nJOB 1 hello\nOK\n"


def test_a_thousand_commands_before_the_first_reply_is_read(a: Wire) -> None:
    a.send("".join(f"SUBMIT {n}\n" for n in range(500)) + "REQUEST\n" * 500)
    assert [a.read() for _ in range(500)] == [f"JOB_ID {n}" for n in range(1, 501)]
    assert [a.read() for _ in range(500)] == [f"JOB {n + 1} {n}" for n in range(500)]


def test_replies_to_what_arrived_together_leave_together(
        server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, waited = list[bytes](), list[int]()
    monkeypatch.setattr(server.broker.store, "wait", waited.append)
    monkeypatch.setattr(Link, "send", lambda link, data: (sent.append(data), link.conn.sendall(data)))
    with Wire(server.address) as a:
        a.send("SUBMIT x\nSUBMIT y\nNONSENSE\nREQUEST\nPING\n")
        assert [a.read()[:6] for _ in range(5)] == ["JOB_ID", "JOB_ID", "ERROR ", "JOB 1 ", "PONG"]
    assert (len(sent), len(waited)) == (1, 1)


def test_whoever_waits_for_a_job_has_the_replies_before(a: Wire, b: Wire) -> None:
    a.send("PING\nSUBMIT x\nREQUEST\nRESERVE wait=60\nPING\n")
    assert [a.read() for _ in range(3)] == ["PONG", "JOB_ID 1", "JOB 1 x"]
    b.ask("SUBMIT y")
    assert a.read().endswith(" -- y") and a.read() == "PONG"


def test_replies_do_not_pile_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[int]()
    monkeypatch.setattr(Link, "send", lambda link, data: (sent.append(len(data)), link.conn.sendall(data)))
    with Wire(server.address) as a:
        for _ in range(100):
            assert a.ask("SUBMIT " + "x" * 50_000).startswith("JOB_ID ")
        sent.clear()
        a.send("REQUEST\n" * 100)
        assert all(len(a.read()) > 50_000 for _ in range(100))
    assert max(sent) <= UNSENT_MAX + 51_000


def test_a_byte_at_a_time(a: Wire) -> None:
    for letter in "SUBMIT slow typist\r\nREQUEST\n":
        a.send(letter)
    assert (a.read(), a.read()) == ("JOB_ID 1", "JOB 1 slow typist")


def test_a_line_too_long_is_refused_and_the_next_lives(a: Wire) -> None:
    a.send("SUBMIT " + "x" * 300_000 + "\nPING\n")
    assert a.read().startswith("ERROR LINE_TOO_LONG ")
    assert a.read() == "PONG"


def test_the_connection_survives_nonsense(a: Wire) -> None:
    for line, code in [("", "UNKNOWN_COMMAND"), ("GET / HTTP/1.1", "UNKNOWN_COMMAND"),
                       ("ACK x", "BAD_ARGUMENTS"), ("ACK 1", "NO_SUCH_JOB")]:
        assert a.ask(line).startswith(f"ERROR {code} ")
    a.socket.sendall(b"SUBMIT \xff\n")
    assert a.read().startswith("ERROR NOT_UTF8 ")
    assert a.ask("PING") == "PONG"


def test_quit_is_answered_and_is_the_last(a: Wire) -> None:
    a.send("QUIT\nSUBMIT never\n")
    assert a.read() == "OK"
    with contextlib.suppress(ConnectionResetError):  # the SUBMIT may arrive at a closed socket
        assert a.read() == ""


def test_stats_name_the_workers(a: Wire, b: Wire) -> None:
    assert a.ask("HELLO name=ann") == "OK"
    a.ask("SUBMIT x")
    a.ask("REQUEST")
    assert b.ask("STATS").endswith('"workers": [{"name": "ann", "jobs": [1]}]}')  # b is none: it only asks
    b.ask("SUBMIT y")
    b.ask("REQUEST")
    assert b.ask("STATS").endswith('"jobs": [1]}, {"name": "connection 2", "jobs": [2]}]}')


def test_500_connections_at_once() -> None:
    with serving_process() as (_, address), contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(address)) for _ in range(500)]
        for wire in wires:
            wire.send("SUBMIT x\n")
        assert sorted(wire.read() for wire in wires) == sorted(f"JOB_ID {n + 1}" for n in range(500))


# ---- Leases end with their connection


@pytest.mark.parametrize("end", [Wire.close, Wire.reset])
def test_what_a_connection_held_is_given_back(server: Server, a: Wire, end: Callable[[Wire], None]) -> None:
    holder = Wire(server.address)
    holder.send("SUBMIT x\nREQUEST\n")
    assert (holder.read(), holder.read()) == ("JOB_ID 1", "JOB 1 x")
    end(holder)
    assert re.fullmatch(r"RESERVED id=1 token=1\.2 attempt=2 lease=30\.0 -- x", a.ask("RESERVE wait=15"))


def test_complete_lines_count_even_if_their_sender_is_gone(server: Server, a: Wire) -> None:
    with Wire(server.address) as sender:
        sender.send("SUBMIT x\nREQUEST\nACK 1\nSUBMIT whole\nSUBMIT cut o")
        sender.socket.shutdown(socket.SHUT_WR)
        assert sender.replies.read() == b"JOB_ID 1\nJOB 1 x\nOK\nJOB_ID 2\n"
    assert '"state": "DONE"' in a.ask("STATUS 1")
    assert '"submitted": 2,' in a.ask("STATS")


# ---- Waiting for a job


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits wakes only when woken: the look around once a second would hide a wake-up forgotten."""
    monkeypatch.setattr("dsjq.broker.SLICE_S", 2 * DEADLINE_S)


@pytest.mark.usefixtures("no_second_look")
def test_a_waiter_is_woken_by_a_submit(server: Server, a: Wire, b: Wire) -> None:
    a.send("RESERVE wait=60\n")
    until(waiting(server, 1))
    b.ask("SUBMIT x")
    assert a.read().endswith(" attempt=1 lease=30.0 -- x")


def test_a_waiter_is_woken_by_the_end_of_anothers_lease() -> None:
    with serving(ack_timeout_s=0.2) as server, Wire(server.address) as a, Wire(server.address) as b:
        a.ask("SUBMIT x")
        a.ask("REQUEST")
        assert b.ask("RESERVE wait=60").endswith(" attempt=2 lease=0.2 -- x")
        assert a.ask("ACK 1").startswith("ERROR STALE ")


@pytest.mark.usefixtures("no_second_look")
def test_a_waiter_is_woken_by_the_end_of_a_lease_that_began_after_its_wait() -> None:
    with serving(ack_timeout_s=0.2) as server, Wire(server.address) as a, Wire(server.address) as b, \
            Wire(server.address) as producer:
        for waiter in (a, b):
            waiter.send("RESERVE wait=60\n")
        until(waiting(server, 2))
        producer.ask("SUBMIT x")
        assert {waiter.read().split()[3] for waiter in (a, b)} == {"attempt=1", "attempt=2"}


@pytest.mark.usefixtures("no_second_look")
def test_every_waiter_gets_a_job(server: Server, a: Wire) -> None:
    with contextlib.ExitStack() as stack:
        waiters = [stack.enter_context(Wire(server.address)) for _ in range(20)]
        for waiter in waiters:
            waiter.send("RESERVE wait=60\n")
        until(waiting(server, 20))
        a.send("SUBMIT x\n" * 20)
        assert len({waiter.read() for waiter in waiters}) == 20


def test_a_wait_ends_with_empty(a: Wire) -> None:
    assert a.ask("RESERVE wait=0.01") == "EMPTY"


@pytest.mark.usefixtures("no_second_look")
def test_a_dead_waiter_is_not_handed_a_job(server: Server, a: Wire, b: Wire) -> None:
    waiter = Wire(server.address)
    waiter.send("RESERVE wait=60\n")
    until(waiting(server, 1))
    b.send("RESERVE wait=60\n")
    until(waiting(server, 2))
    waiter.close()
    a.ask("SUBMIT x")
    assert b.read().endswith(" attempt=1 lease=30.0 -- x")


# ---- The process


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_its_connections_open(signum: int) -> None:
    with serving_process() as (process, address), Wire(address) as idle, Wire(address) as waiter:
        assert idle.ask("PING") == "PONG"
        waiter.send("PING\nRESERVE wait=3600\n")
        assert waiter.read() == "PONG"
        waiter.send("PING\n")
        process.send_signal(signum)
        assert process.wait(DEADLINE_S) == 0
        assert idle.read() == ""


def test_a_drain_waits_for_what_is_in_flight() -> None:
    with serving_process("--grace", "1h") as (process, address), Wire(address) as worker, \
            Wire(address) as idle, Wire(address) as waiter, Wire(address) as producer:
        producer.send("SUBMIT in hand\nSUBMIT waits\n")
        assert (producer.read(), producer.read()) == ("JOB_ID 1", "JOB_ID 2")
        assert worker.ask("REQUEST") == "JOB 1 in hand"
        process.send_signal(signal.SIGTERM)
        until(lambda: producer.ask("SUBMIT too late").startswith("ERROR DRAINING "))
        assert idle.ask("REQUEST") == "EMPTY"
        waiter.send("RESERVE wait=3600\n")
        assert "PENDING" in producer.ask("STATUS 2")
        assert worker.ask("TOUCH 1") == "OK"
        assert worker.ask("ACK 1") == "OK"
        assert process.wait(DEADLINE_S) == 0
        assert waiter.read() == ""


def test_a_drain_takes_back_what_took_too_long_and_it_costs_no_attempt(tmp_path: Path) -> None:
    options = ["--grace", "50ms", "--max-attempts", "2", "--data", str(tmp_path)]
    with serving_process(*options) as (process, address), Wire(address) as worker:
        worker.ask("SUBMIT slow")
        assert worker.ask("RESERVE").startswith("RESERVED id=1 token=1.1 attempt=1 ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert worker.read() == ""
    with serving_process(*options) as (_, address), Wire(address) as worker:
        assert worker.ask("RESERVE").startswith("RESERVED id=1 token=2.2 attempt=2 ")
        assert worker.ask("FAIL 1") == "OK"
        assert '"state": "PENDING", "attempts": 2' in worker.ask("STATUS 1")


def test_whoever_waits_during_a_drain_waits_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With work left behind that nobody may have, each waiter would wake the next for ever."""
    with serving() as server, Wire(server.address) as worker, contextlib.ExitStack() as stack:
        worker.send("SUBMIT a\nREQUEST\n")
        assert (worker.read(), worker.read()) == ("JOB_ID 1", "JOB 1 a")
        waiters = [stack.enter_context(Wire(server.address)) for _ in range(3)]
        for waiter in waiters:
            waiter.send("RESERVE wait=60\n")
        until(waiting(server, 3))
        turns = list[m.Command]()
        decide = server.broker._decide
        monkeypatch.setattr(server.broker, "_decide", lambda command, *rest: (
            turns.append(command), decide(command, *rest))[1])
        drain = threading.Thread(target=server.broker.drain, args=(DEADLINE_S,))
        drain.start()
        until(lambda: server.broker.draining)
        assert worker.ask("FAIL 1") == "OK"  # it is PENDING again, and nobody may have it
        drain.join(DEADLINE_S)
        assert worker.ask("PING") == "PONG"
        assert len(turns) <= 4


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run([sys.executable, "-m", "dsjq", "serve", "--port", port], cwd=ROOT,
                                capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == 1
    assert result.stderr.startswith(f"dsjq: cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in result.stderr


def test_a_client_that_reads_no_reply_does_not_keep_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsjq.server.LAST_REPLY_S", 0.05)
    with serving() as server, Wire(server.address) as deaf:
        deaf.ask("SUBMIT " + "x" * 60_000)
        deaf.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # until nobody takes any more
            while True:
                deaf.socket.send(b"STATUS 1\n" * 1000)


def test_connections_that_come_while_it_stops_do_no_harm() -> None:
    with serving() as server:
        def knock() -> None:
            with contextlib.suppress(OSError):  # refused at last
                while True:
                    with Wire(server.address) as wire:
                        wire.ask("SUBMIT x")

        knocker = threading.Thread(target=knock)
        knocker.start()
        until(lambda: server.broker.queue.submitted > 20)
    assert not knocker.is_alive()
