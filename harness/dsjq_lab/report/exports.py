"""A run in the formats of tools that people already use: ShiViz, Perfetto, JUnit, spreadsheets.

Each export is a function from the judged run and its trace to the text of a file. Words of the system under
study are spelled out in all of them, since a log viewer or a spreadsheet may obey what it shows.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from xml.etree import ElementTree as ET

from dsjq_lab.library import NotFound, did_you_mean
from dsjq_lab.report.markup import brief
from dsjq_lab.report.trace import FAULTS, Event, Trace
from dsjq_lab.results import Result
from dsjq_lab.verdict import NOT_APPLICABLE, UNKNOWN, VIOLATED

Json = dict[str, Any]
SHIVIZ = r"(?<host>\S+) (?<clock>\{.*\}) (?<ts>\S+) (?<event>.*)"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a command
FAILINGS = {VIOLATED: "failure", "absent": "failure", UNKNOWN: "error", NOT_APPLICABLE: "skipped"}  # JUnit's
COLUMNS = ("event", "time_s", "process", "kind", "what", "jobs", "state", "operations")


# -- ShiViz: a log with vector clocks (https://bestchai.bitbucket.io/shiviz/) -------------------------------


def shiviz(result: Result, trace: Trace) -> str:
    """Its first line is the expression that ShiViz asks for, the second its separator of runs: none."""
    hosts = [lane.replace(" ", "-") for lane in trace.lanes]
    lines = [SHIVIZ, ""]
    for event, clock in zip(trace.events, trace.clocks, strict=True):
        known = json.dumps({host: ticks for host, ticks in zip(hosts, clock, strict=True) if ticks})
        host = event.lane.replace(" ", "-")
        lines.append(f"{host} {known} {trace.seconds(event):.6f} {told(event)}")
    return "\n".join([*lines, ""])


def told(event: Event) -> str:
    state = f" [{' '.join([*event.jobs, event.state])}]" if event.state else ""
    return brief(event.text + state)


# -- Perfetto: Chrome's trace events (https://ui.perfetto.dev) ----------------------------------------------


def perfetto(result: Result, trace: Trace) -> str:
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": _Perfetto(trace).events()})


class _Perfetto:
    """One process a lane, with the track of its calls and one of its faults. Times are microseconds."""

    CALLS, FAULTS = 1, 2  # thread ids

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.pid = {lane: number for number, lane in enumerate(trace.lanes, 1)}

    def events(self) -> list[Json]:
        return [*self.names(), *self.slices(), *self.faults(), *self.flows(), *self.jobs()]

    def names(self) -> Iterator[Json]:
        for lane, pid in self.pid.items():
            yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": lane}}
            yield {"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}
            for tid, name in ((self.CALLS, "calls"), (self.FAULTS, "faults")):
                yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}

    def slices(self) -> Iterator[Json]:
        """A client's slice is its call, until the answer or its death; a moment is drawn as a microsecond."""
        for lane in self.trace.lanes:
            events = [event for event in self.trace.events if event.lane == lane]
            for event, later in zip(events, [*events[1:], None], strict=True):
                if event.kind not in ("hear", *FAULTS):
                    until_ns = later.time_ns if later else event.time_ns + 1000
                    if event.kind != "ask":
                        until_ns = min(until_ns, event.time_ns + 1000)
                    args = {"jobs": " ".join(map(brief, event.jobs)), "event": event.index}
                    yield {**self.at("X", event), "dur": (until_ns - event.time_ns) / 1e3, "args": args}

    def faults(self) -> Iterator[Json]:
        for event in self.trace.events:
            if event.kind in FAULTS:
                yield {**self.at("i", event), "tid": self.FAULTS, "s": "p"}
        for band in self.trace.bands:
            where = {"pid": self.pid[band.lane], "tid": self.FAULTS, "ts": self.us(band.begin_ns)}
            dur = (band.end_ns - band.begin_ns) / 1e3
            yield {"ph": "X", **where, "dur": dur, "name": f"{band.kind}: {band.text}"}

    def flows(self) -> Iterator[Json]:
        """An arrow binds to the slices that enclose its ends, so the end of an answer lies just inside."""
        for id, message in enumerate(self.trace.messages, 1):
            if message.target is not None:
                source, target = self.trace.events[message.source], self.trace.events[message.target]
                flow = {"cat": "message", "name": brief(message.text), "id": id}
                yield {**self.at("s", source), **flow}
                end_us = self.us(target.time_ns - (target.kind == "hear"))
                yield {**self.at("f", target), **flow, "bp": "e", "ts": end_us}

    def jobs(self) -> Iterator[Json]:
        """The state of each job as a bar of its own, and how many are in which state."""
        numbers, states, counts = count(1), dict[str, tuple[int, str]](), Counter[str]()
        for event in self.trace.events:
            for job in event.jobs if event.state else ():
                number, before = states.get(job, (0, ""))
                number = number or next(numbers)
                if before:
                    yield self.job("e", event, number, job, before)
                    counts[before] -= 1
                yield self.job("b", event, number, job, event.state)
                counts[event.state] += 1
                states[job] = number, event.state
                yield {**self.at("C", event), "name": "jobs", "args": dict(counts)}
        for job, (number, state) in states.items():
            yield self.job("e", self.trace.events[-1], number, job, state)

    def job(self, phase: str, event: Event, number: int, job: str, state: str) -> Json:
        return {**self.at(phase, event), "pid": self.pid["broker"], "cat": "job", "id": number,
                "name": f"{brief(job)} {state}"}  # fmt: skip

    def at(self, phase: str, event: Event) -> Json:
        where = {"pid": self.pid[event.lane], "tid": self.CALLS, "ts": self.us(event.time_ns)}
        return {"ph": phase, **where, "name": told(event)}

    def us(self, time_ns: int) -> float:
        return (time_ns - self.trace.start_ns) / 1e3


# -- JUnit: what continuous integration shows ---------------------------------------------------------------


def junit(result: Result, trace: Trace) -> str:
    """One test case an invariant. A violation that the scenario asks for, or puts up with, is a success."""
    scenario = brief(result.model.header.scenario)
    suite = ET.Element("testsuite", name=scenario, time=f"{result.seconds:.3f}")
    for verdict, standing, because in result.rulings:
        case = ET.SubElement(suite, "testcase", classname=scenario, name=verdict.invariant)
        if tag := FAILINGS.get(standing):
            ET.SubElement(case, tag, message=brief(verdict.summary)).text = brief(because)
    if result.unproven:
        case = ET.SubElement(suite, "testcase", classname=scenario, name="the run proves something")
        ET.SubElement(case, "error", message=brief("; ".join(result.unproven)))
    suite.set("tests", str(len(suite)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


# -- CSV: a row an event ------------------------------------------------------------------------------------


def table(result: Result, trace: Trace) -> str:
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for event in trace.events:
        words = (event.lane, event.kind, event.text, " ".join(event.jobs), event.state)
        operations = " ".join(map(str, event.ops))
        rows.writerow([event.index, f"{trace.seconds(event):.6f}", *map(cell, words), operations])
    return out.getvalue()


def cell(words: str) -> str:
    """Text, also for a spreadsheet that would take it for a formula."""
    return brief(f"'{words}" if words.startswith(FORMULA) else words)


def export(format: str, result: Result, trace: Trace) -> str:
    """Raises NotFound where there is no such format."""
    if format not in EXPORTS:
        raise NotFound(f"no such format: {format}{did_you_mean(format, EXPORTS)}")
    return EXPORTS[format](result, trace)


EXPORTS: dict[str, Callable[[Result, Trace], str]] = {
    "shiviz": shiviz,
    "perfetto": perfetto,
    "junit": junit,
    "csv": table,
}
