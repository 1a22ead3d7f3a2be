"""Frames: the same protocol as lines, and what only frames can say."""
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args

import hypothesis.strategies as st
import pytest
from hypothesis import given
from test_server import DEADLINE_S, Wire, serving, until
from test_text import commands, ids, keys, names, payloads, quick, replies

from dsjq import Refused
from dsjq import messages as m
from dsjq import workers as lines
from dsjq.extensions import routing
from dsjq.extensions.binary import BATCH, FRAME_MAX, NUMBERS, PACKINGS, Frames, Producer, Worker
from dsjq.extensions.codings import Offering
from dsjq.lifecycle import DECISIONS, Queue, apply, decide, due
from dsjq.server import Link, Server
from dsjq.text import LineCoding

any_bytes = st.binary(max_size=40)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(Link, "first_coding", Offering)
    with serving() as server:
        yield server


class FrameWire:
    """Raw bytes in, decoded replies out."""

    def __init__(self, server: Server):
        self.wire, self.coding = Wire(server.address), Frames()
        assert self.wire.ask("HELLO binary/1") == "OK"

    def send(self, *commands: m.Command) -> None:
        self.wire.socket.sendall(frame(*commands))

    def read(self, count: int) -> list[m.Reply]:
        found: list[m.Reply] = []
        while len(found) < count:
            data = self.wire.replies.read1(65536)
            assert data, f"closed after {found}"
            found.extend(self.coding.replies(data))
        assert len(found) == count
        return found

    def ask(self, *commands: m.Command) -> list[m.Reply]:
        self.send(*commands)
        return self.read(len(commands))

    def close(self) -> None:
        self.wire.close()


@pytest.fixture
def a(server: Server) -> Iterator[FrameWire]:
    with closing(FrameWire(server)) as wire:
        yield wire


def frame(*commands: m.Command) -> bytes:
    coding = Frames()
    return coding.wrap(b"".join(map(coding.encode_command, commands)))


def heard(data: bytes, *more: bytes) -> list[Any]:
    coding = Frames()
    return [command for piece in (data, *more) for command in coding.commands(piece)]


# ---- Bytes and messages


def test_every_message_has_a_number_of_its_own() -> None:
    replies = {*get_args(m.Reply), routing.Copies}
    assert set(NUMBERS) == {*DECISIONS, m.Hello, *replies} - {m.Disconnect}
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert all((number >= 128) == (kind in replies) for kind, number in NUMBERS.items())


@quick
@given(st.lists(commands | any_bytes.map(m.Submit), max_size=5), st.integers(1, 50))
def test_commands_survive_the_wire_in_whatever_slices(said: list[m.Command], size: int) -> None:
    data = frame(*said) + frame(*said)
    assert heard(*[data[at:at + size] for at in range(0, len(data), size)] or [b""]) == said + said


@quick
@given(replies | st.builds(m.Reserved, ids, any_bytes, names, ids, st.floats(0, 9), st.booleans()))
def test_a_reply_survives_the_wire(reply: m.Reply) -> None:
    coding = Frames()
    assert list(coding.replies(coding.wrap(coding.encode_reply(reply)))) == [reply]


@quick
@given(st.one_of(
    st.builds(m.Submit, payloads, st.floats(), st.integers(-20, 20), st.floats(),
              st.none() | st.integers(-5, 2000), keys),
    st.builds(m.Reserve, st.floats(), st.just(False), names),
    st.builds(m.Jobs, st.none() | names, st.integers(-5, 10**18 + 5), st.integers(-5, 2000))))
def test_what_a_line_may_not_ask_for_a_frame_may_not_either(command: Any) -> None:
    line = LineCoding()
    [spoken] = line.commands(line.encode_command(command))
    [packed] = heard(frame(command))
    assert without_verb(packed) == without_verb(spoken)


def without_verb(item: Any) -> Any:
    """In lines a Submit may be a SUBMIT or a PUT."""
    return (item.code, item.text.partition(": ")[2]) if isinstance(item, m.Error) else item


@pytest.mark.parametrize("command", [
    m.Submit(b"", key="two words"), m.Submit(b"", key="a\nb"), m.Hello("two words")])
def test_words_have_no_spaces(command: m.Command) -> None:
    [error] = heard(frame(command))
    assert error.code == "BAD_ARGUMENTS" and "no spaces" in error.text


@pytest.mark.parametrize("command", [m.Submit(b"x" * FRAME_MAX), m.Ack(1 << 63)])
def test_what_fits_into_no_frame_is_not_sent(command: m.Command) -> None:
    with pytest.raises(ValueError):
        frame(command)


def test_the_largest_frame_is_heard() -> None:
    room = FRAME_MAX - len(PACKINGS[m.Submit].pack(m.Submit(b"")))
    [command] = heard(frame(m.Submit(b"x" * room)))
    assert len(command.payload) == room


PING = b"\1\0\0\0\x0c"


@pytest.mark.parametrize(("data", "codes"), [
    (b"\5\0\0\0\1\0\0\0\x63", ["UNKNOWN_COMMAND"]),  # number 99; and the connection lives on
    (b"\5\0\0\0\1\0\0\0\x80", ["UNKNOWN_COMMAND"]),  # a reply is no command
    (b"\5\0\0\0\1\0\0\0\3", ["BAD_ARGUMENTS"]),  # an ACK without its job
    (b"\6\0\0\0\2\0\0\0\x0c\0", ["BAD_ARGUMENTS"]),  # a PING with something behind it
    (struct.pack("<IIBqi", 17, 13, 3, 1, 9), ["BAD_ARGUMENTS"]),  # an ACK whose token is not there
    (struct.pack("<IIBqi", 17, 13, 3, 1, -2), ["BAD_ARGUMENTS"]),
    (struct.pack("<IIBi", 9, 5, 11, -1), ["BAD_ARGUMENTS"]),  # a HELLO whose name is not even empty
    (struct.pack("<IIBi", 10, 6, 11, 1) + b"\xff", ["BAD_ARGUMENTS"]),  # or is not UTF-8
    (b"\1\0\x10\0", ["BAD_FRAME", "QUIT"]),  # one byte more than a frame may hold
    (b"\xff\xff\xff\xff", ["BAD_FRAME", "QUIT"]),
    (b"\4\0\0\0\0\0\0\0", ["BAD_FRAME", "QUIT"]),  # a message without a number
    (b"\3\0\0\0abc", ["BAD_FRAME", "QUIT"]),
    (b"\5\0\0\0\2\0\0\0\x0c", ["BAD_FRAME", "QUIT"]),  # a message that is longer than its frame
    (b"\x0a\0\0\0" + PING + PING[:4] + b"\0", ["PING", "UNKNOWN_COMMAND"]),
    (b"\x09\0\0\0" + PING + b"\xff\0\0\0", ["BAD_FRAME", "QUIT"]),  # and nothing of it is carried out
])
def test_what_is_no_command(data: bytes, codes: list[str]) -> None:
    assert [getattr(item, "code", type(item).__name__.upper()) for item in heard(data)] == codes


@quick
@given(st.binary(max_size=60), st.integers(1, 9))
def test_noise_is_survived(noise: bytes, size: int) -> None:
    for data in (noise, len(noise).to_bytes(4, "little") + noise):
        for item in heard(*[data[at:at + size] for at in range(0, len(data), size)], b""):
            assert isinstance(item, (*get_args(m.Command), m.Error))


# ---- One protocol in two codings


def answers(coding: Any, said: list[tuple[int, m.Command]]) -> list[m.Reply]:
    """What one broker says to all this, each on its way through the coding."""
    queue, heard = Queue(ack_timeout_s=5.0, max_attempts=2), list[m.Reply]()
    for now, (holder, command) in enumerate(said):
        while record := due(queue, float(now)):
            apply(queue, record)
        [decoded] = coding.commands(coding.wrap(coding.encode_command(command)))
        reply, records = decoded, list[m.Record]()
        if not isinstance(decoded, m.Error):
            reply, records = decide(queue, decoded, holder, now)
        for record in records:
            apply(queue, record)
        heard.extend(coding.replies(coding.wrap(coding.encode_reply(reply))))
    return heard


few = st.integers(1, 3)
conversation = st.lists(st.tuples(few, st.one_of(
    st.builds(m.Submit, payloads, st.sampled_from([0.0, 2.0, -1.0]), st.integers(-10, 9), st.just(0.0),
              st.none() | few, st.sampled_from(["", "k"])),
    *[st.builds(kind, few, st.none() | st.sampled_from(["1.1", "1.2"]))
      for kind in (m.Ack, m.Fail, m.Touch, m.Release)],
    st.builds(m.Kick, few), st.builds(m.Status, few), st.sampled_from([
        m.Reserve(), m.Reserve(short=True), m.Jobs(), m.Jobs("DEAD"), m.Stats(), m.Ping(), m.Quit()]))))


@quick
@given(conversation)
def test_one_protocol_in_two_codings(said: list[tuple[int, m.Command]]) -> None:
    in_lines = answers(LineCoding(), said)
    for (_, command), frames, line in zip(said, answers(Frames(), said), in_lines, strict=True):
        if command == m.Reserve(short=True) and isinstance(frames, m.Reserved):
            frames = m.Reserved(frames.job, frames.payload, short=True)  # JOB tells no more
        assert without_verb(frames) == without_verb(line)


# ---- On a connection


def test_lines_and_then_frames_in_one_send(server: Server) -> None:
    with Wire(server.address) as wire:
        frames = frame(m.Reserve(), m.Submit(b"\nSUBMIT not this\n"))
        wire.socket.sendall(b"SUBMIT x\nHELLO binary/1\r\n" + frames)
        assert (wire.read(), wire.read()) == ("JOB_ID 1", "OK")
        coding, found = Frames(), list[m.Reply]()
        while len(found) < 2:
            found.extend(coding.replies(wire.replies.read1(65536)))
        assert found == [m.Reserved(1, b"x", "1.1", 1, 30.0), m.JobId(2)]


def test_frames_byte_by_byte(server: Server) -> None:
    with Wire(server.address) as wire:
        for byte in b"HELLO binary/1\n" + frame(m.Submit(b"slow"), m.Ping()):
            wire.socket.sendall(bytes([byte]))
        assert wire.read() == "OK"
        assert list(Frames().replies(wire.replies.read(4 + 13 + 5))) == [m.JobId(1), m.Pong()]


def test_who_does_not_ask_for_frames_speaks_lines(server: Server) -> None:
    with Wire(server.address) as wire:
        for line in ("HELLO binary/2", "HELLO binary/1 please", " HELLO binary/1"):
            assert wire.ask(line).startswith("ERROR ")
        assert wire.ask("PING") == "PONG"


def test_a_broker_without_frames_says_so() -> None:
    with serving() as server:
        with pytest.raises(Refused, match="BAD_ARGUMENTS"):
            Producer(*server.address)
        until(lambda: not server.links)


def test_each_command_of_a_frame_has_its_own_outcome(a: FrameWire) -> None:
    submits = [m.Submit(b"1", key="k"), m.Submit(b"2", key="k"), m.Submit(b"3", priority=99),
               m.Submit(b"\xff\n")]
    outcomes = [getattr(reply, "code", reply) for reply in a.ask(*submits)]
    assert outcomes == [m.JobId(1), "KEY_CONFLICT", "BAD_ARGUMENTS", m.JobId(2)]
    outcomes = [getattr(reply, "payload", reply) for reply in a.ask(*3 * [m.Reserve()])]
    assert outcomes == [b"1", b"\xff\n", m.Empty()]
    assert a.ask(m.Ack(1), m.Ack(1), m.Ack(9), m.Ack(2)) == [
        m.Ok(), m.Ok(), m.Error("NO_SUCH_JOB", "no job 9 here, or it was finished long ago", 0), m.Ok()]


def test_a_frame_waits_once_for_the_disk_and_is_answered_in_one_send(
        server: Server, a: FrameWire, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, waited = list[bytes](), list[int]()
    monkeypatch.setattr(server.broker.store, "wait", waited.append)
    monkeypatch.setattr(Link, "send", lambda link, data: (sent.append(data), link.conn.sendall(data)))
    a.ask(*[m.Submit(b"x")] * 1000)
    assert (len(sent), len(waited)) == (1, 1)


def test_half_a_frame_is_not_carried_out(server: Server, a: FrameWire) -> None:
    a.wire.socket.sendall(frame(m.Submit(b"x"), m.Submit(b"y"))[:-1])
    a.close()
    with lines.Producer(*server.address) as producer:
        until(lambda: len(server.links) == 1)
        assert producer.call(m.Stats()).data["submitted"] == 0


def test_a_damaged_frame_ends_the_connection(a: FrameWire) -> None:
    a.wire.socket.sendall(frame(m.Ping()) + b"\xff\xff\xff\xff")
    pong, error, ok = a.read(3)
    assert (pong, error.code, ok) == (m.Pong(), "BAD_FRAME", m.Ok())
    assert a.wire.replies.read1(1) == b""


def test_bytes_that_fit_into_no_line_are_said_in_base64(server: Server, a: FrameWire) -> None:
    odd = [b"two\nlines", b"\xff\xfe", b"a\rb"]
    a.ask(*map(m.Submit, [*odd, b"plain"]))
    with Wire(server.address) as wire:
        for question, head, data in [("RESERVE", "id=1 token=1.1", "dHdvCmxpbmVz"),
                                     ("REQUEST", "id=2 token=1.2", "//4=")]:
            promised = f"RESERVED {head} attempt=1 lease=30.0 coding=base64 -- {data}"
            assert wire.ask(question) == promised
    until(lambda: server.broker.queue.counts["PENDING"] == 4)  # what the wire held was given back
    with lines.Worker(*server.address) as worker:
        assert [worker.reserve(wait_s=DEADLINE_S).payload for _ in range(4)] == [*odd, b"plain"]


# ---- Producer and Worker


def test_submit_many_reserve_many_ack_many(server: Server) -> None:
    big = b"\n" * (BATCH + 1)
    with Producer(*server.address, name="p") as producer, Worker(*server.address) as worker:
        assert producer.submit_many(["text", b"\0", big, *9000 * [b"x" * 100]]) == list(range(1, 9004))
        assert producer.submit(b"one") == 9004
        jobs = worker.reserve_many(10_000)
        assert [job.payload for job in jobs[:3]] == [b"text", b"\0", big] and len(jobs) == 9004
        assert worker.ack_many(jobs) == 9004 * [None]
        [problem] = worker.ack_many([jobs[0]._replace(token="1.999")])
        assert isinstance(problem, Refused) and problem.code == "STALE"
        assert worker.reserve_many(3) == []


def test_reserve_many_waits_for_the_first(server: Server) -> None:
    with Producer(*server.address) as producer, Worker(*server.address) as worker:
        threading.Timer(0.05, producer.submit_many, [[b"a", b"b"]]).start()
        assert worker.reserve_many(5, wait_s=DEADLINE_S)[0].payload == b"a"


def test_submit_many_tells_what_nobody_can_know_from_what_did_not_happen(
        server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Producer(*server.address) as producer:
        monkeypatch.setattr(server.broker.store, "wait", lambda position: _hang_up(server))
        payload = b"x" * (BATCH // 2)
        kinds = [type(outcome).__name__ for outcome in producer.submit_many(3 * [payload])]
        assert kinds == ["OutcomeUnknown", "Refused", "Refused"]


def _hang_up(server: Server) -> None:
    raise ConnectionAbortedError


def test_a_worker_that_prefetches_works_in_order_and_gives_back_the_rest(server: Server) -> None:
    done = list[bytes]()
    with Producer(*server.address) as producer, Worker(*server.address, prefetch=4) as worker:
        producer.submit_many([b"%d" % n for n in range(10)])
        worker.run(lambda job: done.append(job.payload), stop=lambda: len(done) == 6)
        assert done == [b"%d" % n for n in range(6)]
        stats = producer.call(m.Stats()).data
        assert (stats["done"], stats["pending"], stats["in_flight"], stats["requeued"]) == (6, 4, 0, 0)


def test_what_a_worker_prefetched_is_renewed_too() -> None:
    """The handler of the first takes longer than the leases of the others."""
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(Link, "first_coding", Offering)
        with serving(ack_timeout_s=0.5) as server, Producer(*server.address) as producer, \
                Worker(*server.address, prefetch=3) as worker:
            producer.submit_many([b"1", b"2", b"3"])
            attempts, renewed = list[int](), threading.Event()
            touches = list[float]()
            execute = server.broker.execute
            patch.setattr(server.broker, "execute", lambda command, session: (
                touches.append(1) if isinstance(command, m.Touch) else None,
                renewed.set() if len(touches) > 12 else None, execute(command, session))[2])
            worker.run(lambda job: (renewed.wait(DEADLINE_S), attempts.append(job.attempt)),
                       stop=lambda: len(attempts) == 3)
            assert attempts == [1, 1, 1]
            assert producer.call(m.Stats()).data["requeued"] == 0
