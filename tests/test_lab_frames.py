"""Scenarios over frames: the lab's client that speaks them, and a run with it."""
import socket
import threading

import pytest
from playing import ROOT, came_to_rest, only, ops_of

from dsjq.extensions.binary import Frames
from dsjq.messages import Empty, Ok, Pong
from dsjq_lab import runs
from dsjq_lab.brokers import of_run, under_study
from dsjq_lab.clients.frames import FrameClient
from dsjq_lab.history import read_history
from dsjq_lab.results import judged
from dsjq_lab.workload import Unknown


def test_a_scenario_over_frames():
    folder = runs.play(ROOT / "scenarios" / "first_job.yaml", broker=under_study("dsjq-frames", None))
    ops = ops_of(folder)
    assert came_to_rest(ops) and only(ops, f="ack", type="ok")
    broker = of_run(read_history(folder / "history.jsonl").header)
    assert broker.name == "dsjq-frames" and broker.client()[-1] == "dsjq_lab.clients.frames"


@pytest.mark.parametrize(("name", "verb"), [
    ("corrupted_wire", "corrupt"), ("sliced_and_joined", "coalesce"), ("reply_lost_on_the_way", "lose_reply"),
])  # fmt: skip
def test_what_happens_to_messages_on_the_way_happens_to_frames(name, verb):
    folder = runs.play(ROOT / "scenarios" / f"{name}.yaml", broker=under_study("dsjq-frames", None))
    result = judged(folder)
    assert (result.outcome, result.unproven) == ("pass", [])
    assert [op for op in only(ops_of(folder), f=verb) if op.value["phase"] == "struck"]


def answered(*replies: bytes) -> FrameClient:
    """A client whose broker says OK, and then all this, whatever it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        conn, _ = listener.accept()
        with listener, conn:
            for reply in (b"OK\n", *replies):
                conn.recv(65536)
                conn.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return FrameClient({"port": listener.getsockname()[1]}, timeout_s=5.0)


def frame(*replies) -> bytes:
    coding = Frames()
    return coding.wrap(b"".join(map(coding.encode_reply, replies)))


def test_a_reply_is_read_as_its_line():
    client = answered(frame(Pong()), frame(Empty()))
    assert (client.ask("PING"), client.ask("REQUEST")) == ("PONG", "EMPTY")
    client.close()


@pytest.mark.parametrize(("reply", "why"), [
    (frame(Ok(), Pong()), "extra: PONG"),
    (frame(Ok()) + b"\1", "extra: "),
    (b"\5\0\0\0\1\0\0\0\x63", "garbage: "),  # a message with a number that is no reply's
    (b"\1\0\0\0\0", "garbage: "),
    (frame(Ok())[:-1], "eof"),
])
def test_what_is_no_reply_makes_the_outcome_unknown(reply, why):
    client = answered(reply)
    with pytest.raises(Unknown, match=why):
        client.ask("PING")
    client.close()


def test_a_broker_that_speaks_no_frames_is_not_reached():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        conn, _ = listener.accept()
        with listener, conn:
            conn.recv(65536)
            conn.sendall(b"ERROR BAD_ARGUMENTS what?\n")

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(OSError, match="BAD_ARGUMENTS"):
        FrameClient({"port": listener.getsockname()[1]}, timeout_s=5.0)
