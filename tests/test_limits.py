"""At each limit: what is refused, with which word, and that the others do not notice."""
import contextlib
import re
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from test_server import ROOT, Wire, start, until

from dsjq.broker import Broker
from dsjq.cli import LIMITS
from dsjq.extensions.limits import UNREAD_BYTES, LimitedServer, Limits, Weighed
from dsjq.store import MemoryStore


@contextlib.contextmanager
def serving(**limits: float) -> Iterator[LimitedServer]:
    weighed = Weighed(MemoryStore())
    server = LimitedServer(Broker(store=weighed), "127.0.0.1", 0, Limits(**limits), weighed)
    try:
        yield server
    finally:
        server.stop()
        assert not server.links and not server.per_host


def test_connections_are_counted_and_one_that_ends_makes_room() -> None:
    with serving(connections=2) as server, Wire(server.address) as one, Wire(server.address) as two:
        assert one.ask("PING") == two.ask("PING") == "PONG"
        with Wire(server.address) as three:
            assert three.read() == "ERROR TOO_MANY_CONNECTIONS at most 2 at a time"
            assert three.read() == ""
        assert one.ask("QUIT") == "OK"
        until(lambda: server.per_host["127.0.0.1"] == 1)
        with Wire(server.address) as four:
            assert four.ask("PING") == "PONG"


def test_who_has_gone_before_he_is_in_costs_the_others_no_pause(capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        with server.lock:  # the accept loop waits here, with the first
            first = Wire(server.address)
            Wire(server.address).reset()
        assert first.ask("PING") == "PONG"
        first.close()
        until(lambda: not server.links and not server.hosts)
    assert capfd.readouterr().err == ""


def test_connections_of_one_address_leave_room_for_another() -> None:
    with serving(connections_per_address=1) as server, Wire(server.address) as one:
        assert one.ask("PING") == "PONG"
        with Wire(server.address) as two:
            assert two.read() == "ERROR TOO_MANY_CONNECTIONS at most 1 at a time from 127.0.0.1"
        other = socket.create_connection(server.address, source_address=("127.0.0.2", 0))
        with other, other.makefile("rb") as replies:
            other.sendall(b"PING\n")
            assert replies.readline() == b"PONG\n"


def test_a_full_queue_refuses_jobs_and_still_serves_workers() -> None:
    with serving(jobs=2) as server, Wire(server.address) as wire:
        assert wire.ask("SUBMIT a") == "JOB_ID 1"
        assert wire.ask("SUBMIT b") == "JOB_ID 2"
        assert wire.ask("SUBMIT c") == "ERROR QUEUE_FULL at most 2 jobs wait or are at work"
        assert wire.ask("REQUEST") == "JOB 1 a"
        assert wire.ask("SUBMIT c").startswith("ERROR QUEUE_FULL")
        assert wire.ask("ACK 1") == "OK"
        assert wire.ask("SUBMIT c") == "JOB_ID 3"


def test_payloads_are_weighed_until_their_jobs_are_done() -> None:
    with serving(payload_bytes=10) as server, Wire(server.address) as wire:
        assert wire.ask("SUBMIT 123456") == "JOB_ID 1"
        assert wire.ask("SUBMIT 12345") == "ERROR QUEUE_FULL payloads have at most 10 bytes in all"
        assert wire.ask("SUBMIT 1234") == "JOB_ID 2"
        assert wire.ask("REQUEST") == "JOB 1 123456"
        assert wire.ask("ACK 1") == "OK"
        assert wire.ask("SUBMIT 12345") == "JOB_ID 3"


def test_a_command_that_is_not_finished_in_time_ends_its_connection_alone() -> None:
    with serving(command_s=0.05) as server, Wire(server.address) as slow, Wire(server.address) as idle:
        assert idle.ask("PING") == "PONG"
        slow.send("SUBM")
        assert slow.read() == "ERROR TOO_SLOW a command must arrive within 0.05 s"
        assert slow.read() == ""
        assert idle.ask("PING") == "PONG"  # silent for as long, but in the middle of nothing


def test_bytes_that_trickle_do_not_win_time() -> None:
    with serving(command_s=0.2) as server, Wire(server.address) as slow:
        assert slow.ask("PING") == "PONG"  # it is inside
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 100_000 and server.links:
                slow.send("x")
                sent += 1
        until(lambda: not server.links)


def test_a_client_that_does_not_read_is_let_go_and_its_job_given_back() -> None:
    with serving(reply_s=0.05) as server, Wire(server.address) as other:
        assert other.ask("SUBMIT " + "x" * 60_000) == "JOB_ID 1"
        with Wire(server.address) as deaf:
            assert deaf.ask("PING") == "PONG"  # it is inside
            deaf.send("REQUEST\n")
            deaf.socket.setblocking(False)
            with contextlib.suppress(ConnectionError):
                while len(server.links) == 2:
                    with contextlib.suppress(BlockingIOError):
                        deaf.socket.send(b"JOBS\n" * 1000)
            until(lambda: len(server.links) == 1)
        assert other.ask("REQUEST").startswith("JOB 1 ")


def test_the_system_keeps_little_of_what_a_client_does_not_read() -> None:
    with serving() as server, Wire(server.address):
        until(lambda: server.links)
        [link] = server.links
        kept = link.conn.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert kept <= 2 * UNREAD_BYTES  # Linux doubles it, for its own books


def test_a_thread_that_cannot_start_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        begin = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with Wire(server.address) as one:
            assert one.read() == ""
        monkeypatch.setattr(threading.Thread, "start", begin)
        with Wire(server.address) as two:
            assert two.ask("PING") == "PONG"


def test_where_descriptors_are_few_connections_are_fewer() -> None:
    program = ("import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); "
               "from dsjq.cli import main; main(['serve', '--port', '0'])")
    with start([sys.executable, "-c", program]) as process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        port = int(process.stdout.readline().rpartition(":")[2])
        wires = [stack.enter_context(Wire(("127.0.0.1", port))) for _ in range(9)]
        assert [wire.ask("PING") for wire in wires[:8]] == ["PONG"] * 8
        assert wires[8].read() == "ERROR TOO_MANY_CONNECTIONS at most 8 at a time"


def test_each_limit_has_an_option_and_a_line_in_the_protocol() -> None:
    assert {field: kind(default) for field, (kind, default, _) in LIMITS.items()} == Limits()._asdict()
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    options = re.findall(r"^\| `--([a-z-]+)` ", protocol, re.M)
    assert options == [field.replace("_s", "_time").replace("_", "-") for field in LIMITS]
