"""`dsjq top`: what it makes of two answers, on a terminal and elsewhere."""
import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import pytest
from stories import HOSTILE
from test_server import DEADLINE_S, ROOT, serving, serving_process, start

from dsjq import Producer, Worker
from dsjq.client import Connection
from dsjq.extensions.top import BACK, BOLD, HOME, SCREEN, lines, looks, show
from dsjq.server import Server

TOP = [sys.executable, "-m", "dsjq", "top", "--interval", "1ms"]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_rates_and_holding_times_are_what_it_saw(server):
    now = iter([100.0, 100.0, 102.0, 105.0])
    with Connection(*server.address) as asking, Producer(*server.address) as producer, \
            Worker(*server.address, name="ann") as worker:
        seen = looks(asking, clock=lambda: next(now))
        assert next(seen)["rates"] == {"submitted/s": 0.0, "delivered/s": 0.0, "done/s": 0.0}
        for _ in range(6):
            producer.submit("x")
        job = worker.reserve()
        second = next(seen)
        assert second["rates"] == {"submitted/s": 3.0, "delivered/s": 0.5, "done/s": 0.0}
        assert {"name": "ann", "jobs": [{"id": job.id, "held_s": 0.0}]} in second["workers"]
        assert len(second["jobs"]) == 6
        third = next(seen)
        assert {"name": "ann", "jobs": [{"id": job.id, "held_s": 3.0}]} in third["workers"]
        assert "ann                     1 for 3.0 s" in lines(third)


def test_what_changed_is_bold_where_colours_are_wanted(server):
    with Connection(*server.address) as asking, Producer(*server.address) as producer:
        seen = looks(asking)
        before = next(seen)
        producer.submit("x")
        after = next(seen)
        marked = re.findall(re.escape(BOLD) + r" *([a-z ]+?) \d", "\n".join(lines(after, before, bold=True)))
        assert marked == ["submitted", "pending"]
        assert "\x1b" not in "".join(lines(after, before, bold=False))
        assert "\x1b" not in "".join(lines(after, None, bold=True))


def test_a_hostile_payload_and_a_hostile_name_command_nothing(server):
    with Producer(*server.address, name="\x1b[2J\u202eann") as producer:
        producer.submit(HOSTILE)
        producer.submit(60_000 * "x")
        out = io.StringIO()
        show(producer, out, once=False, as_json=False, interval_s=1.0)
        text = out.getvalue()
        assert "a<script>alert(1)</script>&\"'\\x1b[2J\\u202e" in text and len(text) < 2000
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        out = io.StringIO()
        show(producer, out, once=True, as_json=True, interval_s=1.0)
        assert out.getvalue().isascii() and out.getvalue().count("\n") == 1
        assert json.loads(out.getvalue())["jobs"][0]["payload"] == HOSTILE


def test_json_goes_on_until_it_is_stopped(server):
    command = [*TOP, "--port", str(server.address[1]), "--json"]
    with start(command) as top:
        assert [json.loads(line)["submitted"] for line in islice(top.stdout, 3)] == [0, 0, 0]
        top.send_signal(signal.SIGINT)
        top.communicate(timeout=DEADLINE_S)
        assert top.returncode == 130


@pytest.mark.parametrize("plain", [False, True])
def test_on_a_terminal_it_goes_on_and_leaves_it_as_it_was(server, plain):
    ours, its = pty.openpty()
    command = [*TOP, "--port", str(server.address[1])]
    environ = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    if plain:
        environ["NO_COLOR"] = "1"
    with Producer(*server.address) as producer, \
            subprocess.Popen(command, cwd=ROOT, stdin=its, stdout=its, env=environ) as top:
        os.close(its)
        seen = b""
        while seen.count(HOME.encode()) < 3:
            seen += os.read(ours, 1 << 16)
        producer.submit("hello")
        while b"hello" not in seen:
            seen += os.read(ours, 1 << 16)
        top.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: it has gone
            while data := os.read(ours, 1 << 16):
                seen += data
        assert top.wait(DEADLINE_S) == 130
    os.close(ours)
    assert seen.startswith(SCREEN.encode()) and seen.endswith(BACK.encode())
    assert (BOLD.encode() in seen) is not plain


def test_when_the_broker_goes_it_says_so():
    with serving_process() as (process, address):
        with start([*TOP, "--port", str(address[1]), "--json"]) as top:
            top.stdout.readline()
            process.kill()
            _, told = top.communicate(timeout=DEADLINE_S)
        assert top.returncode == 1 and told.startswith("dsjq: the broker has gone: ")
