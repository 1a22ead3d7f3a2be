"""The proxy alone: what goes in comes out to the byte, unless it is disturbed; and a disturbance says so."""
import random
import select
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from dsjq.extensions.binary import Frames
from dsjq.messages import Ack, Empty, Error, Ok, Ping, Pong, Submit
from dsjq_lab.disturbances import DISTURBANCES, Coalesce, asked_for
from dsjq_lab.proxy import Proxy
from dsjq_lab.scenario import VERBS
from dsjq_lab.tongues import FRAMES, LINES
from dsjq_lab.wire import Ear

TIMEOUT_S = 5
BYTES = b"HELLO\n" + random.Random(1).randbytes(300_000) + b"\n"
OPTIONS = {"direction": "both", "by_s": 0.05, "jitter_s": 0.0, "into_bytes": 1000, "probability": 1.0}


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says again what it hears."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=repeat, args=(conn,), daemon=True).start()

    def repeat(conn: socket.socket) -> None:
        with conn:
            try:
                while data := conn.recv(1 << 16):
                    conn.sendall(data)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[Proxy]:
    proxy = Proxy(echo, seed=1)
    yield proxy
    proxy.close()


def call(proxy: Proxy, client: str = "worker 1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port(client)), TIMEOUT_S)


def echoed(conn: socket.socket, data: bytes) -> bytes:
    """What comes back, until the end of it."""
    sender = threading.Thread(target=lambda: (conn.sendall(data), conn.shutdown(socket.SHUT_WR)))
    sender.start()
    heard = b""
    while part := conn.recv(1 << 16):
        heard += part
    sender.join()
    return heard


def proof(proxy: Proxy) -> tuple[str, dict[str, int]]:
    assert select.select([proxy], [], [], TIMEOUT_S)[0], "it has not bitten"
    (news,) = proxy.receive()
    return news


def test_without_a_disturbance_every_byte_arrives_and_the_end_too(proxy):
    with call(proxy) as conn:
        assert echoed(conn, BYTES) == BYTES


@pytest.mark.parametrize("verb", ["latency", "slice", "coalesce", "corrupt"])
def test_with_probability_0_nothing_is_changed_and_nothing_is_claimed(proxy, verb):
    assert proxy.disturb("worker 1", verb, {**OPTIONS, "probability": 0.0})
    with call(proxy) as conn:
        assert echoed(conn, BYTES) == BYTES
    proxy.calm("worker 1")
    assert not select.select([proxy], [], [], 0)[0]


@pytest.mark.parametrize("verb", ["latency", "slice"])
def test_what_is_late_or_in_pieces_is_the_same_in_the_end(proxy, verb):
    assert proxy.disturb("broker", verb, OPTIONS)
    with call(proxy) as conn:
        assert echoed(conn, BYTES) == BYTES
    assert proof(proxy)[0] == "broker"


def test_what_a_partition_holds_comes_when_it_ends(proxy):
    with call(proxy) as conn, call(proxy, "worker 2") as other:
        proxy.disturb("worker 1", "partition", OPTIONS)
        conn.sendall(b"held\n")
        assert proof(proxy) == ("worker 1", {"held_bytes": 5})
        assert echoed(other, b"free\n") == b"free\n"
        assert not select.select([conn], [], [], 0)[0]
        proxy.calm("worker 1")
        assert conn.recv(9) == b"held\n"


def test_a_flipped_bit_is_in_the_first_byte_of_a_line_that_is_no_greeting(proxy):
    proxy.disturb("worker 1", "corrupt", {**OPTIONS, "direction": "up"})
    with call(proxy) as conn:
        conn.sendall(b"HELLO\n")
        assert conn.recv(9) == b"HELLO\n"
        conn.sendall(b"ACK 1\n")
        assert conn.recv(9) == b"\xc1CK 1\n"
    assert proof(proxy)[1] == {"flipped_bits": 1}


def test_of_two_questions_in_one_piece_the_client_hears_one_answer(proxy):
    proxy.disturb("worker 1", "coalesce", OPTIONS)
    with call(proxy) as conn:
        for line in (b"one\n", b"two\n"):
            conn.sendall(line)
            assert conn.recv(99) == line  # the echo of PING was kept
    assert proof(proxy)[1] == {"joined_bytes": 9}


def test_a_lost_answer_takes_with_it_all_that_follows(proxy):
    proxy.disturb("worker 1", "lose_reply", {"to": "ack"})
    with call(proxy) as conn:
        conn.sendall(b"SUBMIT a\n")
        assert conn.recv(9) == b"SUBMIT a\n"
        conn.sendall(b"ACK 1\n")
        assert proof(proxy) == ("worker 1", {"lost_bytes": 6})
        conn.shutdown(socket.SHUT_WR)
        assert conn.recv(9) == b""


@pytest.mark.parametrize(("verb", "ends"), [("reset", ConnectionResetError), ("half_open", None)])
def test_a_connection_ends_as_it_is_told_to(proxy, verb, ends):
    with call(proxy) as conn:
        assert conn.sendall(b"a\n") is None and conn.recv(9) == b"a\n"
        proxy.disturb("worker 1", verb, {})
        assert proof(proxy) == ("worker 1", {"connections": 1})
        if ends:
            with pytest.raises(ends):
                conn.recv(9)
        else:
            assert conn.recv(9) == b""


def test_half_of_what_is_said_arrives_and_then_the_end(proxy):
    with call(proxy) as conn:
        proxy.disturb("worker 1", "cut", {"direction": "down"})
        conn.sendall(b"abcdef")
        assert proof(proxy) == ("worker 1", {"cut_bytes": 3})
        assert conn.recv(9) == b"abc"
        assert conn.recv(9) == b""


def test_who_calls_where_nobody_listens_is_told_so(proxy):
    proxy.broker = ("127.0.0.1", 1)
    with pytest.raises(ConnectionError), call(proxy) as conn:
        conn.recv(1)


def test_a_disturbance_of_nobody_there_is_refused(proxy):
    proxy.broker = ("127.0.0.1", 1)
    assert not proxy.disturb("broker", "storm", {"connections": 3})


def test_every_verb_of_the_network_has_its_class():
    assert {verb for verb, deed in VERBS.items() if deed.of_the_network} == set(DISTURBANCES)


# -- The record of what passed


def record(proxy: Proxy, direction: str) -> list[tuple[str | None, int, bool]]:
    """(the line, its bytes, whether it was passed on)."""
    said = [op["value"] for op in proxy.record() if op["value"]["direction"] == direction]
    return [(value["line"], value["size_bytes"], value["left_ns"] is not None) for value in said]


def test_each_line_is_recorded_once_however_it_is_cut(proxy):
    with call(proxy) as conn:
        assert echoed(conn, b"ACK 1\nSUB") == b"ACK 1\nSUB"
    with call(proxy) as conn:
        for part in (b"SUBMIT a", b" b\nRE", b"QUEST\n"):
            conn.sendall(part)
            heard = b""
            while len(heard) < len(part):
                heard += conn.recv(100)
    assert record(proxy, "up") == [("ACK 1", 6, True), ("SUBMIT a b", 11, True), ("REQUEST", 8, True)]
    assert record(proxy, "down") == record(proxy, "up")
    times = [(op["time_ns"], op["value"]["left_ns"]) for op in proxy.record()]
    assert all(came_ns <= left_ns for came_ns, left_ns in times)
    assert {op["value"]["link"] for op in proxy.record()} == {1, 2}


def test_what_was_held_to_the_end_never_arrived(proxy):
    with call(proxy) as conn:
        assert proxy.disturb("worker 1", "partition", OPTIONS)
        conn.sendall(b"ACK 1\n")
        proof(proxy)
        assert record(proxy, "up") == [("ACK 1", 6, False)]


def test_an_answer_that_was_lost_was_given(proxy):
    with call(proxy) as conn:
        assert proxy.disturb("worker 1", "lose_reply", {"to": "any"})
        conn.sendall(b"ACK 1\n")
        proof(proxy)
    assert record(proxy, "up") == [("ACK 1", 6, True)]
    assert record(proxy, "down") == [("ACK 1", 6, False)]


def test_half_of_what_was_cut_is_no_arrival(proxy):
    with call(proxy) as conn:
        assert proxy.disturb("worker 1", "cut", {"direction": "up"})
        conn.sendall(b"ACK 1\n")
        proof(proxy)
        assert not conn.recv(100)
    assert record(proxy, "up") == [("ACK 1", 6, False)]


def test_bytes_of_another_language_are_bytes_and_secrets_are_no_ones_business(echo):
    proxy = Proxy(echo, seed=1, tongue=None)
    with call(proxy) as conn:
        assert echoed(conn, b"\0\1\n\2") == b"\0\1\n\2"
    assert record(proxy, "up") == [(None, 4, True)]
    proxy.close()
    said = Ear("worker 1", 1, "up", speaks_lines=True).hear(b"AUTH me sesame\n", 5)
    assert [message.op()["value"]["line"] for message in said] == ["AUTH ..."]


def test_replies_to_what_was_joined_never_reach_the_client_however_late_and_in_pieces() -> None:
    stream = SimpleNamespace(unasked=2, tongue=LINES)
    heard = [asked_for(stream, data) for data in (b"OK PO", b"NG\nOK PONG", b"\nJOB_ID 7\n", b"OK PONG\n")]
    assert heard == [b"", b"", b"JOB_ID 7\n", b"OK PONG\n"]


def framed(*messages: object) -> bytes:
    coding = Frames()
    return coding.wrap(b"".join(coding.encode_reply(message) for message in messages))


@pytest.mark.parametrize(("answers", "heard"), [
    ([[Pong()], [Ok()]], [[], [Ok()]]),
    ([[Pong(), Ok()], [Pong()]], [[Ok()], [Pong()]]),
    ([[Pong(), Ok(), Empty()]], [[Ok(), Empty()]]),
])  # fmt: skip
def test_an_answer_to_what_was_joined_leaves_the_frame_that_it_shares(answers, heard) -> None:
    stream = SimpleNamespace(unasked=1, tongue=FRAMES)
    told = [asked_for(stream, framed(*messages)) for messages in answers]
    assert told == [framed(*messages) if messages else b"" for messages in heard]


def test_a_frame_is_found_asked_and_spoilt() -> None:
    (submit, ack), coding = (Submit(b"a\nb"), Ack(7, None)), Frames()
    frames = [coding.wrap(coding.encode_command(command)) for command in (submit, ack)]
    assert [FRAMES.asks(frame, "submit") for frame in frames] == [True, False]
    assert [FRAMES.asks(frame, "ack") for frame in frames] == [False, True]
    assert list(Frames().commands(FRAMES.ping)) == [Ping()]
    (refused,) = Frames().commands(FRAMES.spoilt(frames[0]))
    assert isinstance(refused, Error) and refused.code == "UNKNOWN_COMMAND"
    assert FRAMES.left(frames[0] + frames[1], 0) == 0
    assert FRAMES.left(frames[0][:-2], 0) == 2 and FRAMES.left(frames[0][-2:], 2) == 0


@pytest.mark.parametrize(("torn", "begins"), [(3, False), (None, True)])
def test_where_frames_are_torn_in_their_length_nobody_guesses(torn: int | None, begins: bool) -> None:
    listener = Coalesce(lambda proof: None, "", {})
    stream = Mock(tongue=FRAMES, passed_bytes=0)
    assert not listener.begins(stream, b"HELLO binary/1\n")
    stream.passed_bytes = 15
    assert listener.begins(stream, FRAMES.ping[:torn])
    assert listener.begins(stream, FRAMES.ping) == begins
