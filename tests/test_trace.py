"""The broker's trace: one line of JSON for each record that it applied."""
import contextlib
import json
import time
from pathlib import Path

import pytest
from test_server import Wire, serving_process

from dsjq.broker import Broker
from dsjq.extensions.journal import Journal
from dsjq.extensions.trace import Traced
from dsjq.messages import Ack, Acked, Reserve, Submit, Submitted
from dsjq.store import MemoryStore, StorageFull


def test_serve_traces_what_it_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("DSJQ_TRACE", str(trace))
    before_ns = time.monotonic_ns()
    for _ in range(2):
        with serving_process() as (_, address), Wire(address) as wire:
            assert wire.ask("SUBMIT hidden") == "JOB_ID 1"
            assert wire.ask("REQUEST") == "JOB 1 hidden"
            assert wire.ask("ACK 1") == "OK"
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [line.get("record") for line in lines] == 2 * [None, "Submitted", "Delivered", "Acked"]
    assert lines[0]["start"] is True and lines[2]["token"] == "1.1" and lines[3]["job"] == 1
    times_ns = [before_ns, *(line["time_ns"] for line in lines), time.monotonic_ns()]
    assert times_ns == sorted(times_ns)
    assert "hidden" not in trace.read_text()


def test_what_was_refused_is_not_traced(tmp_path: Path) -> None:
    class Full(MemoryStore):
        def append(self, records: object) -> int:
            raise StorageFull("no room")

    trace = tmp_path / "trace"
    with pytest.raises(StorageFull):
        Traced(Full(), str(trace)).append([Submitted(1, b"x")])
    assert trace.read_text() == ""


def test_a_batch_is_several_lines(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    Traced(MemoryStore(), str(trace)).append([Acked(1), Acked(2)])
    assert [json.loads(line).get("job") for line in trace.read_text().splitlines()] == [1, 2]


def test_a_start_tells_what_survived(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for surviving in ([], [2, 1]):
        with contextlib.closing(Journal(tmp_path)) as store:
            broker = Broker(store=Traced(store, str(trace)))
            session = broker.connect()
            start = json.loads(trace.read_text().splitlines()[-1])
            assert start["start"] is True and start["jobs"] == surviving
            for command in () if surviving else (Submit(b"x"), Submit(b"y"), Reserve(), Ack(1)):
                broker.execute(command, session)
