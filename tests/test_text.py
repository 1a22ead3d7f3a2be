"""Bytes to messages and back."""
import string
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from dsjq import messages as m
from dsjq.extensions import routing
from dsjq.text import (
    LINE_MAX,
    Lines,
    decode_command,
    decode_reply,
    encode_command,
    encode_reply,
)

quick = settings(max_examples=200, deadline=None, database=None)


def cut(lines: Lines, *pieces: bytes) -> list[bytes | str]:
    """What the pieces make: lines, and the codes of lines refused."""
    found = [line for piece in pieces for line in lines.feed(piece)]
    return [line.code if isinstance(line, m.Error) else line for line in found]


def refusal(line: bytes) -> m.Error:
    answer = decode_command(line)
    assert isinstance(answer, m.Error)
    return answer


# ---- Lines


@quick
@given(st.lists(st.sampled_from([b"a", b"bc", b" ", b"\r", b"\n", b"\n\n", b"x" * 7])),
       st.lists(st.integers(0, 60)))
def test_slices_make_no_difference(parts: list[bytes], places: list[int]) -> None:
    stream = b"".join(parts)
    bounds = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(bounds)]
    assert cut(Lines(8), *pieces) == cut(Lines(8), stream)


def test_a_line_ends_with_lf_or_crlf() -> None:
    assert cut(Lines(), b"one\r\ntwo\nthr", b"ee\r", b"\n\n") == [b"one", b"two", b"three", b""]


def test_what_is_not_ended_is_no_line() -> None:
    assert cut(Lines(), b"ACK 1") == []


def test_a_line_may_be_as_long_as_the_limit() -> None:
    longest = b"x" * LINE_MAX
    assert cut(Lines(), longest + b"\n", longest + b"y\n", b"z\n") == [longest, "LINE_TOO_LONG", b"z"]


def test_a_line_that_is_too_long_is_not_kept() -> None:
    lines = Lines()
    for _ in range(100):
        assert cut(lines, b"x" * 65536) == []
        assert len(lines.buffer) <= LINE_MAX + 1
    assert cut(lines, b"\nPING\n") == ["LINE_TOO_LONG", b"PING"]


# ---- Round trips

ids = st.integers(0, 10**18 - 1)
tokens = st.none() | st.from_regex(r"[0-9]{1,9}\.[0-9]{1,9}", fullmatch=True)
texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))
payloads = texts.map(str.encode)
names = st.text(string.ascii_letters + string.digits + "-=.", min_size=1, max_size=64)
states = st.none() | st.sampled_from(["DELAYED", "PENDING", "IN_FLIGHT", "FAILED", "DONE", "DEAD"])

keys = st.text(st.characters(exclude_characters="\r\n ", exclude_categories=["Cs"]), max_size=64)

names_or_none = st.just("") | names
routed = st.one_of(
    st.builds(routing.Declare, st.sampled_from(["queue", *routing.KINDS]), names),
    st.builds(routing.Bind, names_or_none, names, names_or_none),
    st.builds(routing.Unbind, names_or_none, names, names_or_none),
    st.builds(routing.Publish, names, names_or_none.filter(lambda key: key != "--"), payloads,
              st.floats(0, 1e6), st.integers(-9, 9), st.floats(0, 86400), st.none() | st.integers(0, 1000),
              keys),
    st.just(routing.Topology()),
)
commands = routed | st.one_of(
    payloads.map(m.Submit),
    st.builds(m.Submit, payloads, st.floats(0, 1e6), st.integers(-9, 9), st.floats(0, 86400),
              st.none() | st.integers(0, 1000), keys),
    st.builds(m.Reserve, st.floats(0, 3600), st.just(False), names_or_none), st.just(m.Reserve(short=True)),
    *[st.builds(kind, ids, tokens) for kind in (m.Ack, m.Fail, m.Touch, m.Release)],
    st.builds(m.Kick, ids), st.builds(m.Status, ids),
    st.builds(m.Jobs, states, ids, st.integers(0, 1000)),
    st.builds(m.Hello, names),
    st.sampled_from([m.Stats(), m.Ping(), m.Quit()]),
)
reports = st.dictionaries(texts, st.integers() | texts, max_size=3) | st.lists(texts, max_size=3)
replies = st.one_of(
    st.sampled_from([m.Ok(), m.Pong(), m.Empty()]),
    st.builds(m.JobId, ids),
    st.builds(m.Reserved, ids, payloads, st.just("1.7"), st.integers(1, 9), st.floats(0, 1e6),
              st.just(False)),
    st.builds(m.Reserved, ids, payloads, st.just(""), st.just(0), st.just(0.0), st.just(True)),
    st.builds(m.Report, st.sampled_from(["STATUS", "STATS", "JOBS"]), reports),
    st.builds(m.Error, st.just("STALE"), texts, st.just(0)),  # which job it is about stays in the broker
)


@quick
@given(commands)
def test_a_command_survives_the_wire(command: m.Command) -> None:
    line = encode_command(command)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_command(line[:-1]) == command


@quick
@given(replies)
def test_a_reply_survives_the_wire(reply: m.Reply) -> None:
    line = encode_reply(reply)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_reply(line[:-1]) == reply


@pytest.mark.parametrize("payload", [b"", b" ", b"  a  b ", "žluťoučký 🐎".encode(), b"-- x=1 -- ", b"\0"])
def test_a_payload_is_kept_to_the_byte(payload: bytes) -> None:
    assert decode_command(b"SUBMIT " + payload) == m.Submit(payload)
    assert decode_command(b"PUT priority=1 -- " + payload) == m.Submit(payload, priority=1)
    assert decode_command(encode_command(m.Submit(payload, key="--"))[:-1]) == m.Submit(payload, key="--")
    for short in (False, True):
        reply = decode_reply(encode_reply(m.Reserved(1, payload, "1.1", 1, 30.0, short)).removesuffix(b"\n"))
        assert isinstance(reply, m.Reserved) and reply.payload == payload


def test_submit_alone_is_an_empty_payload() -> None:
    assert decode_command(b"SUBMIT") == decode_command(b"SUBMIT ") == m.Submit(b"")


def test_submit_and_request_are_the_short_forms() -> None:
    assert decode_command(b"PUT -- x") == decode_command(b"SUBMIT x")
    assert decode_command(b"PUT delay=0 priority=0 lease=0 key= -- x") == decode_command(b"SUBMIT x")
    assert encode_command(m.Submit(b"x")) == b"SUBMIT x\n"
    assert encode_command(m.Submit(b"x", 2.0, retries=0)) == b"PUT delay=2.0 retries=0 -- x\n"


@pytest.mark.parametrize("command", [
    m.Submit(b"a\nb"), m.Submit(b"a\r"), m.Hello("me\nQUIT"), m.Ack(1, "1.1\nQUIT"),
])
def test_nothing_smuggles_in_a_second_line(command: m.Command) -> None:
    with pytest.raises(ValueError, match="binary protocol"):
        encode_command(command)


def test_nothing_smuggles_in_another_payload() -> None:
    for space in " \n":
        with pytest.raises(ValueError, match="no spaces"):
            encode_command(m.Submit(b"right", key=f"k{space}-- wrong"))


# ---- Refusals


@pytest.mark.parametrize("line", [b"", b" ", b"submit x", b"NOPE", b"DISCONNECT", b"\xff\xfe", b"SUBMIT\tx",
                                  b"A" * 60_000])
def test_unknown_commands(line: bytes) -> None:
    bad = refusal(line)
    assert bad.code == "UNKNOWN_COMMAND"
    assert len(bad.text) < 400 and "SUBMIT" in bad.text


@pytest.mark.parametrize(("line", "says"), [
    (b"SUBMIT a\rb", "CR"),
    (b"REQUEST now", "takes no arguments"),
    (b"ACK", "an id is a number"),
    (b"ACK one", "an id is a number"),
    (b"ACK -1", "an id is a number"),
    (b"ACK 1.0", "an id is a number"),
    (b"ACK " + b"1" * 19, "an id is a number"),
    ("ACK ١".encode(), "an id is a number"),
    (b"ACK 1 ", "takes an id"),
    (b"ACK  1", "an id is a number"),
    (b"FAIL 1 1.1 please", "takes an id"),
    (b"TOUCH", "an id is a number"),
    (b"RELEASE", "an id is a number"),
    (b"PUT", " -- "),
    (b"PUT x", " -- "),
    (b"PUT --", " -- "),
    (b"PUT key=a --x", " -- "),
    (b"PUT key=a b -- x", "delay= priority= lease= retries= key="),
    (b"PUT -- a\rb", "CR"),
    (b"PUT delay=-1 -- x", "0 to "),
    (b"PUT delay=nan -- x", "0 to "),
    (b"PUT lease=86401 -- x", "0 to 86400"),
    (b"PUT priority=10 -- x", "-9 to 9"),
    (b"PUT priority=1.5 -- x", "int"),
    (b"PUT priority=high -- x", "int"),
    (b"PUT retries=-1 -- x", "0 to 1000"),
    (b"RESERVE 5", "wait="),
    (b"RESERVE wait", "wait="),
    (b"RESERVE wait=", "float"),
    (b"RESERVE wait=soon", "float"),
    (b"RESERVE wait=nan", "0 to 3600"),
    (b"RESERVE wait=inf", "0 to 3600"),
    (b"RESERVE wait=-1", "0 to 3600"),
    (b"RESERVE line=a", "wait="),
    (b"STATUS", "an id is a number"),
    (b"STATUS 1 2", "an id is a number"),
    (b"STATS all", "takes no arguments"),
    (b"JOBS state=dead", "PENDING"),
    (b"JOBS after=x", "int"),
    (b"JOBS page=2", "after="),
    (b"JOBS limit=1001", "0 to 1000"),
    (b"KICK all", "an id is a number"),
    (b"HELLO name=two words", "name="),
    (b"PING 1", "takes no arguments"),
    (b"QUIT now", "takes no arguments"),
])
def test_bad_arguments(line: bytes, says: str) -> None:
    bad = refusal(line)
    assert bad.code == "BAD_ARGUMENTS"
    assert says in bad.text and bad.text.startswith(line.split()[0].decode() + ": ")


@pytest.mark.parametrize("line", [b"SUBMIT \xff", b"ACK \xff", b"HELLO name=\xc3"])
def test_a_line_is_utf8(line: bytes) -> None:
    assert refusal(line).code == "NOT_UTF8"


@pytest.mark.parametrize("line", [b"", b"WHAT", b"OK then", b"JOB x y", b"JOB_ID", b"STATS {", b"JOB_ID \xff",
                                  b"RESERVED", b"RESERVED id=1 -- x"])
def test_what_is_no_reply_is_an_error(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode_reply(line)
