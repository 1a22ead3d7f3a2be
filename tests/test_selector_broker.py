"""What any broker owes (docs/protocol.md), held against the black box of the tests, and against dsjq itself.

Each rule of that page has its dialogue here. The two brokers agree in no more than the page asks for, so a
dialogue that both pass asks for nothing else.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).parents[1]
SELECTOR = [sys.executable, str(ROOT / "tests" / "blackbox" / "selector_broker.py"), "--ack-timeout"]
DSJQ = [sys.executable, "-m", "dsjq", "serve", "--port", "0", "--ack-timeout"]
LATE_S = 1.0  # what the contract allows
SLACK_S = 10.0  # what a busy machine is allowed beside that


class Wire:
    """`nc`, in Python."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.replies = self.socket.makefile("rb")

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def read(self) -> str:
        return self.replies.readline().decode().removesuffix("\n")

    def ask(self, line: str) -> str:
        self.send(line.encode() + b"\n")
        return self.read()

    def submit(self, payload: str) -> str:
        word, id = self.ask(f"SUBMIT {payload}").split(" ")
        assert word == "JOB_ID"
        return id

    def request(self) -> str:
        """Asks until there is a job."""
        deadline = time.monotonic() + LATE_S + SLACK_S
        while (reply := self.ask("REQUEST")) == "EMPTY" and time.monotonic() < deadline:
            time.sleep(0.01)
        return reply

    def close(self) -> None:
        self.replies.close()
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Served:
    """A broker in its own process, and the wires to it."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])
        self.wires: list[Wire] = []

    def wire(self) -> Wire:
        self.wires.append(Wire(self.port))
        return self.wires[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for wire in self.wires:
            wire.close()
        self.process.kill()
        self.process.communicate()


def selector(ack_timeout_s: float, *options: str) -> Served:
    return Served(*SELECTOR, f"{ack_timeout_s}", *options)


@pytest.fixture(params=[SELECTOR, DSJQ], ids=["selector", "dsjq"])
def command(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.fixture
def broker(command: list[str]) -> Iterator[Served]:
    with Served(*command, "30" if command == SELECTOR else "30s") as served:
        yield served


@pytest.fixture
def hasty(command: list[str]) -> Iterator[Served]:
    """Its leases end after 0.3 s."""
    with Served(*command, "0.3" if command == SELECTOR else "300ms") as served:
        yield served


def test_a_job_from_submit_to_done(broker: Served) -> None:
    a = broker.wire()
    id = a.submit("resize  cat.png ")
    assert a.ask("REQUEST") == f"JOB {id} resize  cat.png "
    assert a.ask("REQUEST") == "EMPTY"
    assert a.ask(f"ACK {id}") == "OK"
    assert a.ask("REQUEST") == "EMPTY"


def test_an_empty_payload_comes_back_empty(broker: Served) -> None:
    a = broker.wire()
    word, id = a.ask("SUBMIT").split(" ")
    assert (word, a.ask("REQUEST")) == ("JOB_ID", f"JOB {id} ")


def test_fresh_jobs_keep_their_order(broker: Served) -> None:
    a = broker.wire()
    ids = [a.submit(f"job {i}") for i in range(20)]
    assert [a.ask("REQUEST").split(" ")[1] for _ in ids] == ids


def test_replies_come_in_the_order_of_the_commands(broker: Served) -> None:
    a = broker.wire()
    a.send(b"REQUEST\nSUBMIT na\xc3\xafve\nREQUEST\r\nREQU")
    assert a.read() == "EMPTY"
    id = a.read().removeprefix("JOB_ID ")
    assert a.read() == f"JOB {id} naïve"
    a.send(b"EST\n")
    assert a.read() == "EMPTY"


@pytest.mark.parametrize(
    "line",
    [b"NONSENSE", b"", b"request", b"REQUEST now", b"ACK", b"ACK 1 2 3", b"FAIL nothing", b"SUBMIT \xff",
     b"SUBMIT a\rb", b"SUBMIT " + b"x" * 65_530],
    ids=lambda line: repr(line[:12]),
)  # fmt: skip
def test_a_refusal_is_an_error_and_the_connection_lives_on(broker: Served, line: bytes) -> None:
    a = broker.wire()
    a.send(line + b"\n")
    assert a.read().startswith("ERROR ")
    assert a.ask("REQUEST") == "EMPTY"


def test_the_longest_line_is_taken(broker: Served) -> None:
    a = broker.wire()
    id = a.submit("x" * (65_536 - len("SUBMIT ")))
    assert a.ask("REQUEST") == f"JOB {id} " + "x" * (65_536 - len("SUBMIT "))


def test_only_the_holder_settles(broker: Served) -> None:
    a, b = broker.wire(), broker.wire()
    id = a.submit("x")
    assert b.ask(f"ACK {id}").startswith("ERROR ")
    a.ask("REQUEST")
    assert b.ask(f"ACK {id}").startswith("ERROR ")
    assert b.ask(f"FAIL {id}").startswith("ERROR ")
    assert a.ask(f"ACK {id}") == "OK"
    assert b.ask(f"ACK {id}").startswith("ERROR ")
    a.ask(f"ACK {id}")  # OK or ERROR, as the broker likes; but nothing comes of it
    assert b.ask("REQUEST") == "EMPTY"


def test_a_failed_job_comes_back(broker: Served) -> None:
    a, b = broker.wire(), broker.wire()
    id = a.submit("x")
    a.ask("REQUEST")
    assert a.ask(f"FAIL {id}") == "OK"
    assert b.request() == f"JOB {id} x"
    assert a.ask(f"ACK {id}").startswith("ERROR ")
    assert b.ask(f"ACK {id}") == "OK"


def test_a_lease_ends(hasty: Served) -> None:
    a, b = hasty.wire(), hasty.wire()
    id = a.submit("x")
    start = time.monotonic()
    a.ask("REQUEST")
    assert b.request() == f"JOB {id} x"
    assert time.monotonic() - start >= 0.3
    assert a.ask(f"ACK {id}").startswith("ERROR ")


@pytest.mark.parametrize("end", [Wire.close, Wire.reset], ids=["EOF", "reset"])
def test_a_connection_ends_and_its_lease_with_it(broker: Served, end: object) -> None:
    a, b = broker.wire(), broker.wire()
    id = a.submit("x")
    a.ask("REQUEST")
    assert callable(end)
    end(a)
    assert b.request() == f"JOB {id} x"


def test_complete_lines_are_carried_out_before_the_lease_ends(broker: Served) -> None:
    a, b = broker.wire(), broker.wire()
    id = a.submit("x")
    a.ask("REQUEST")
    a.send(f"ACK {id}\nSUBMIT y\nSUBMIT z".encode())
    a.socket.shutdown(socket.SHUT_WR)
    assert a.read() == "OK"
    y = a.read().removeprefix("JOB_ID ")
    assert a.read() == ""
    assert b.request() == f"JOB {y} y"
    assert b.ask("REQUEST") == "EMPTY"


def test_who_does_not_read_is_not_waited_for(broker: Served) -> None:
    a, b = broker.wire(), broker.wire()
    a.submit("x" * 60_000)
    a.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            a.send(b"NONSENSE\n" * 10_000)
    assert b.request().startswith("JOB ")


# Of the black box alone: these need its options


def test_the_limit_of_attempts() -> None:
    with selector(30, "--max-attempts", "2") as served:
        a = served.wire()
        id = a.submit("x")
        for _ in range(2):
            assert a.request() == f"JOB {id} x"
            assert a.ask(f"FAIL {id}") == "OK"
        other = a.submit("y")
        assert a.request() == f"JOB {other} y"
        assert a.ask(f"FAIL {other}") == "OK"
        assert a.request() == f"JOB {other} y"  # whatever was to come back with it has come
        assert a.ask("REQUEST") == "EMPTY"


def test_what_was_confirmed_outlives_a_kill(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with selector(30, "--journal", str(journal)) as served:
        a = served.wire()
        done, held, failed, waiting = (a.submit(f"{name}  ") for name in "dhfw")
        for _ in range(3):
            a.ask("REQUEST")
        assert a.ask(f"ACK {done}") == "OK"
        assert a.ask(f"FAIL {failed}") == "OK"
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
    with journal.open("ab") as file:
        file.write(b"submitted torn")  # killed as it wrote this
    with selector(30, "--journal", str(journal)) as served:
        b = served.wire()
        assert b.submit("new") not in (waiting, done, held, failed)
        came = {b.request() for _ in range(4)}
        assert {f"JOB {waiting} w  ", f"JOB {held} h  ", f"JOB {failed} f  "} < came
        assert b.ask("REQUEST") == "EMPTY"


def test_a_term_ends_it() -> None:
    with selector(30) as served:
        served.process.terminate()
        assert served.process.wait(20) == 0
