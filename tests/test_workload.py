"""A client records what it was told, and what it was told beyond what it had asked."""
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dsjq_lab.workload import Attempt, Channel, Client, delivery, nothing, produce


@contextmanager
def broker(*replies: bytes, banner: bytes = b"") -> Iterator[int]:
    """Answers the nth line of its only client with the nth of these; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            conn, _ = listener.accept()
            with conn, conn.makefile("rb") as lines:
                conn.sendall(banner)
                for reply, _ in zip(replies, lines, strict=False):
                    conn.sendall(reply)
                lines.read()
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@contextmanager
def client(port: int, core: bool) -> Iterator[tuple[Client, list[dict]]]:
    """A worker, and what it has told the lab; complete when it has closed."""
    lab, end = socket.socketpair()
    told: list[dict] = []
    with lab:
        channel = Channel(end.detach(), "worker 1", [])
        config = {"port": port, "incarnation": 1, "ack_timeout_s": 5, "wait_s": 0.2, "core": core}
        told_to = Client(channel, config)
        yield told_to, told
        told_to.close()
        channel.lines.close()
        channel.socket.close()
        told += map(json.loads, lab.makefile("rb"))


def ask_twice(port: int, core: bool = True) -> list[tuple[str, str, str | None]]:
    with client(port, core) as (worker, told):
        worker.operate("reserve", {}, lambda: "REQUEST", delivery)
        worker.operate("ack", {"id": "7"}, lambda: "ACK 7", nothing)
    return [(op["type"], op["f"], op["error"]) for op in told if op["type"] != "invoke"]


CONNECTED, DELIVERED, CLOSED = ("ok", "connect", None), ("ok", "reserve", None), ("info", "close", None)


def test_each_question_gets_its_reply():
    with broker(b"JOB 7 j1 x\n", b"OK\n") as port:
        assert ask_twice(port) == [CONNECTED, DELIVERED, ("ok", "ack", None), CLOSED]


@pytest.mark.parametrize(("second", "error"), [
    (b"OK\nOK\n", "extra: OK"),
    (b"OK\n\n", "extra: "),
    (b"OKAY\n", "garbage: OKAY"),
    (b"\n", "garbage: "),
    (b"\xff\xfe\n", r"garbage: \xff\xfe"),
    (b"x" * 999 + b"\n", "garbage: " + 80 * "x"),
    (b"O", "timeout"),
])
def test_what_is_no_reply_leaves_the_outcome_open(second, error, monkeypatch):
    monkeypatch.setattr("dsjq_lab.workload.TIMEOUT_S_MAX", 0.3)
    with broker(b"JOB 7 j1 x\n", second) as port:
        assert ask_twice(port)[2:] == [("info", "ack", error)]  # and the connection is never used again


def test_a_reply_too_many_is_found_before_the_next_question():
    with broker(b"JOB 7 j1 x\n", b"OK\n") as port, client(port, core=True) as (worker, told):
        worker.operate("reserve", {}, lambda: "REQUEST", delivery)
        assert worker.line is not None
        worker.line.socket.sendall(b"ACK 7\n")  # asked behind the lab's back
        worker.line.socket.recv(1, socket.MSG_PEEK)
        worker.operate("ack", {"id": "7"}, lambda: "ACK 7", nothing)
    assert (told[-1]["type"], told[-1]["f"], told[-1]["error"]) == ("info", "ack", "extra: OK")


def test_a_refusal_did_not_happen():
    with broker(b"JOB 7 j1 x\n", b"ERROR STALE gone\n") as port:
        assert ask_twice(port)[2:] == [("fail", "ack", "ERROR STALE gone"), CLOSED]


@pytest.mark.parametrize(("greeting", "has_tokens"), [
    (b"OK\n", True), (b"ERROR UNKNOWN_COMMAND HELLO\n", False), (b"HELLO yourself\n", False),
])
def test_by_its_greeting_it_is_known_what_a_broker_speaks(greeting, has_tokens):
    with broker(greeting, b"EMPTY\n") as port, client(port, core=False) as (worker, told):
        worker.operate("reserve", {}, lambda: "REQUEST", delivery)
        assert worker.has_tokens is has_tokens
    assert told[1]["value"] == {"conn": "worker 1/1.1", "greeting": greeting.decode().rstrip()}
    assert [op["type"] for op in told if op["f"] == "reserve"] == ["invoke", "ok"]


def test_nothing_is_invoked_when_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client(port, core=True) as (worker, told):
        assert worker.operate("reserve", {}, lambda: "REQUEST", delivery)[0] == "unreachable"
    assert [(op["type"], op["f"]) for op in told] == [("invoke", "connect"), ("fail", "connect")]
    assert told[1]["error"].startswith("UNREACHABLE")


# What a producer says


TERMS = {"seed": 1, "gap_s": 0, "payload_bytes": 8, "delays_s": [0], "priorities": [0], "keyed": False}


@contextmanager
def replier(*replies: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers one line after the other, on as many connections as it takes; its port, and what it was asked.

    An empty reply hangs up instead.
    """
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            left = list(replies)
            while left:
                conn, _ = listener.accept()
                with conn, conn.makefile("rb") as lines:
                    for line in lines:
                        asked.append(line)
                        if not (reply := left.pop(0)):
                            break
                        conn.sendall(reply)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join()


def produced(jobs: list[str], *replies: bytes, **terms: object) -> tuple[list[bytes], list[tuple]]:
    with replier(*replies) as (port, asked), client(port, core=True) as (producer, told):
        produce(producer, producer.channel, {**TERMS, "jobs": jobs, **terms})
    return asked, [(op["type"], op["error"]) for op in told if op["f"] == "submit" and op["type"] != "invoke"]


def test_a_job_without_terms_is_submitted_and_others_are_put():
    terms = {"delays_s": [0, 0.5], "priorities": [0, 0, -3]}
    asked, _ = produced(["j1", "j2", "j3"], *[b"JOB_ID 1\n"] * 3, **terms)
    assert asked == [b"SUBMIT j1 xxxxx\n", b"PUT delay=0.5 -- j2 xxxxx\n", b"PUT priority=-3 -- j3 xxxxx\n"]


def test_a_key_makes_it_safe_to_ask_again():
    asked, told = produced(["j1"], b"", b"JOB_ID 1\n", keyed=True)
    assert asked == [b"PUT key=j1 -- j1 xxxxx\n"] * 2
    assert told == [("info", "eof"), ("ok", None)]
    assert produced(["j1"], b"")[1] == [("info", "eof")]  # without one it could arrive twice


def test_who_is_turned_away_by_a_broker_that_stops_comes_again():
    stopping = b"ERROR DRAINING the broker is about to stop\n"
    assert [told[0] for told in produced(["j1"], stopping, b"JOB_ID 1\n")[1]] == ["fail", "ok"]
    assert [told[0] for told in produced(["j1"], b"ERROR QUEUE_FULL\n")[1]] == ["fail"]


@pytest.mark.parametrize(("lot", "said"), [(0.1, "fail"), (0.3, "release"), (0.6, "ack")])
def test_one_die_decides_how_a_job_ends(lot, said):
    config = {"ack_timeout_s": 5, "work_time_s": 0, "fail_rate": 0.2, "release_rate": 0.3, "renew": False,
              "max_runtime_s": None, "effect": False}
    with replier(b"OK\n", b"OK\n") as (port, asked), client(port, core=False) as (worker, _):
        worker._connect()
        Attempt(worker, worker.channel, config, {"job": "j1", "id": "7", "token": "1.1"}).run(lot)
    assert asked[1:] == [f"{said.upper()} 7 1.1\n".encode()]
