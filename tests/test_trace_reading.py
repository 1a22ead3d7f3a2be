"""What a broker records of itself is told in the history, but for the line that it did not live to finish."""
import pytest

from dsjq_lab import trace
from dsjq_lab.errors import LabError


def test_lives_are_counted_and_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "broker.trace"
    path.write_text('{"time_ns": 1, "start": true}\n'
                    '{"time_ns": 2, "record": "Delivered", "job": 3, "token": "1.1"}\n'
                    '{"time_ns": 4, "start": true, "jobs": [3]}\n{"time_ns": 5, "rec')
    ops = list(trace.read(path))
    assert [(op["time_ns"], op["f"], op["value"]) for op in ops] == [
        (1, "start", {"incarnation": 1}),
        (2, "record", {"record": "Delivered", "job": 3, "token": "1.1"}),
        (4, "start", {"incarnation": 2, "jobs": [3]}),
    ]
    assert {(op["process"], op["type"]) for op in ops} == {("broker", "info")}


def test_a_broker_without_a_trace_has_none(tmp_path):
    assert list(trace.read(tmp_path / "broker.trace")) == []


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"record": "Delivered"}'])
def test_what_is_no_trace_is_told_by_its_line(tmp_path, line):
    path = tmp_path / "broker.trace"
    path.write_text('{"time_ns": 1, "start": true}\n' + line + "\n")
    with pytest.raises(LabError, match=r"broker\.trace:2"):
        list(trace.read(path))
