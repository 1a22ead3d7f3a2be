"""The exports, each held against the rules of the tool that reads it."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from histories import Told
from stories import STORIES, hostile, traced, zombie_ack

from dsjq_lab.report.exports import COLUMNS, EXPORTS
from dsjq_lab.report.telling import trace
from dsjq_lab.report.trace import Trace
from dsjq_lab.results import Result, judged

SCENARIO = "scenario: 1\ntitle: Told\nstory: Told.\nload:\n  jobs: 1\nfocus: [no_lost_job]\n"
every_story = pytest.mark.parametrize("tell", STORIES.values(), ids=STORIES)


@pytest.fixture
def store(tmp_path: Path):
    def store(told: Told, more: str = "") -> tuple[Result, Trace]:
        (tmp_path / "scenario.yaml").write_text(SCENARIO + more)
        told.write(tmp_path / "history.jsonl")
        result = judged(tmp_path)
        return result, trace(result.model)

    return store


# -- ShiViz


@every_story
def test_each_host_counts_its_own_events_in_its_clock_from_one_by_one(tell, store):
    expression, delimiter, *lines = EXPORTS["shiviz"](*store(tell())).splitlines()
    assert expression == r"(?<host>\S+) (?<clock>\{.*\}) (?<ts>\S+) (?<event>.*)" and delimiter == ""
    pattern = re.compile(expression.replace("(?<", "(?P<"))
    clocks: dict[str, dict[str, int]] = defaultdict(dict)
    assert lines
    for line in lines:
        match = pattern.fullmatch(line)
        assert match, line
        host, clock = match["host"], json.loads(match["clock"])
        assert clock[host] == clocks[host].get(host, 0) + 1
        assert all(clock[other] >= ticks for other, ticks in clocks[host].items())
        for other, ticks in clock.items():  # nobody knows more of another than has happened there
            assert other == host or 1 <= ticks <= clocks[other][other]
        clocks[host] = clock


# -- Perfetto


def perfetto(told: Told, store: Any) -> list[dict[str, Any]]:
    document = json.loads(EXPORTS["perfetto"](*store(told)))
    events: list[dict[str, Any]] = document["traceEvents"]
    return events


def slices(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[tuple[float, float]]]:
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    return tracks


@every_story
def test_slices_of_one_track_do_not_overlap(tell, store):
    for track in slices(perfetto(tell(), store)).values():
        assert all(begin <= end for begin, end in track)
        for (_, end), (begin, _) in pairwise(track):
            assert end <= begin + 1e-6


@every_story
def test_arrows_have_integer_ids_of_their_own_and_bind_to_slices(tell, store):
    events = perfetto(tell(), store)
    tracks = slices(events)
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = [event for event in events if event["ph"] == "f"]
    assert len(starts) == sum(event["ph"] == "s" for event in events) == len(ends) > 0
    for end in ends:
        start = starts[end["id"]]
        assert isinstance(end["id"], int) and end["bp"] == "e"
        assert (start["cat"], start["name"]) == (end["cat"], end["name"])
        assert start["ts"] <= end["ts"]
        for event in (start, end):
            track = tracks[event["pid"], event["tid"]]
            assert any(begin <= event["ts"] <= until for begin, until in track)


def test_lanes_have_names_and_an_order_and_faults_belong_to_their_process(store):
    events = perfetto(zombie_ack(), store)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    order = {e["pid"]: e["args"]["sort_index"] for e in events if e["name"] == "process_sort_index"}
    assert sorted(names, key=lambda pid: order[pid]) == list(names)
    assert list(names.values()) == ["producer 1", "broker", "worker 1", "worker 2"]
    faults = [(names[e["pid"]], e["name"], e["s"]) for e in events if e["ph"] == "i"]
    assert faults == [("worker 1", "paused (exact)", "p"), ("worker 1", "resumed", "p")]


def test_states_of_a_job_begin_and_end_in_turn_and_are_counted(store):
    events = perfetto(traced(), store)
    bars = [(event["ph"], event["name"]) for event in events if event["ph"] in "be"]
    names = ["PENDING", "IN_FLIGHT", "PENDING", "IN_FLIGHT", "DONE"]
    assert bars == [(phase, f"a {name}") for name in names for phase in "be"]
    counts = [event["args"] for event in events if event["ph"] == "C"]
    assert all(sum(count.values()) == 1 for count in counts)
    assert counts[-1]["DONE"] == 1


# -- JUnit


def test_junit_tells_what_failed_what_is_unknown_and_what_was_skipped(store):
    result, story = store(zombie_ack())
    suite = ET.fromstring(EXPORTS["junit"](result, story))
    standings = {ruling.verdict.invariant: ruling.standing for ruling in result.rulings}
    for case in suite.iter("testcase"):
        tags = {"violated": ["failure"], "unknown": ["error"], "not applicable": ["skipped"]}
        name = case.get("name", "")
        if name in standings:
            assert [part.tag for part in case] == tags.get(standings[name], [])
    assert int(suite.get("failures", 0)) == len(suite.findall("testcase/failure")) > 0
    assert int(suite.get("tests", 0)) == len(suite)


def test_an_expected_violation_is_no_failure_in_junit(store):
    expect = "expect: [{violated: [no_stale_ack], because: It believes everybody.}]\n"
    suite = ET.fromstring(EXPORTS["junit"](*store(zombie_ack(), expect)))
    (case,) = (case for case in suite if case.get("name") == "no_stale_ack")
    assert list(case) == []


# -- CSV


@every_story
def test_csv_has_a_row_an_event(tell, store):
    result, story = store(tell())
    head, *rows = csv.reader(io.StringIO(EXPORTS["csv"](result, story)))
    assert tuple(head) == COLUMNS
    assert [int(row[0]) for row in rows] == [event.index for event in story.events]
    assert all(len(row) == len(COLUMNS) for row in rows)


def test_a_spreadsheet_is_given_no_formula(store):
    told = Told()
    told.submit("=cmd|' /C calc'!A0", process="producer 1")
    told.submit("@SUM(1)")
    told.end()
    rows = list(csv.DictReader(io.StringIO(EXPORTS["csv"](*store(told)))))
    assert {row["jobs"] for row in rows if row["jobs"]} == {"'=cmd|'", "'@SUM(1)"}


# -- All


@pytest.mark.parametrize("format", EXPORTS)
def test_hostile_words_are_spelled_out(format, store):
    text = EXPORTS[format](*store(hostile()))
    assert not set(text) & {"\x1b", "\u202e", "\x00"}
    if format == "junit":
        ET.fromstring(text)
        assert "<script" not in text
