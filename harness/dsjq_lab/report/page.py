"""report.html: a run in one file that needs nothing else: no server, no network, no other file.

What the run said is hostile input. In the page it is escaped words; for the script it is JSON in which no tag
can be closed; and the page's own policy forbids every script but the lab's, by its hash, and every request.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from dsjq_lab.checkers import CHECKERS
from dsjq_lab.report import diagram, view
from dsjq_lab.report.charts import Pace, charts, pace
from dsjq_lab.report.explain import explain, fate
from dsjq_lab.report.markup import brief, text
from dsjq_lab.report.plain import visible
from dsjq_lab.report.telling import trace as trace_of
from dsjq_lab.report.trace import Trace
from dsjq_lab.report.view import View
from dsjq_lab.results import Result, Ruling
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED

PARTS = Path(__file__).parent / "parts"
LOG_LINES = 200  # of each process, the last
JOB_COLUMNS = ["job", "became", "deliveries", "submitted_s", "done_s", "holders"]
RULES = {checker.name: checker.rule for checker in CHECKERS}


def report(result: Result, trace: Trace, run: Path) -> str:
    shown = view.of_run(result, trace)
    own_pace = pace(result.model)
    body = part("report.html").substitute(
        heading=heading(result),
        verdicts=verdicts(result),
        explanations="".join(explanations(result)),
        still=still(trace, shown),
        pace=charts(trace, own_pace, [own_pace]),
        logs="".join(logs(run / "logs")),
        data=data(result, trace, shown),
    )
    return framed(f"{result.model.header.scenario}: {result.outcome}", body, part("report.js").template)


def comparison(runs: Sequence[tuple[Result, Path]]) -> str:
    """Runs side by side: what each invariant came to, the pace to one scale, and the picture of each."""
    traces = [trace_of(result.model) for result, _ in runs]
    paces = [pace(result.model) for result, _ in runs]
    names = [name(result) for result, _ in runs]
    rows = [
        [emphasis.format(text(cell)) for cell in (what, *values)]
        for what, values in figures([result for result, _ in runs])
        for emphasis in ["<b>{}</b>" if len({*values}) > 1 else "{}"]  # where they differ
    ]
    body = "".join([
        f"<h1>{' · '.join(map(text, names))}</h1>",
        f"<section>{table(['', *map(text, names)], rows)}</section>",
        "<div class='columns'>",
        *(f"<section><h2>{text(title)}</h2>{charts(trace, own, paces)}</section>"
          for title, trace, own in zip(names, traces, paces, strict=True)),
        *(f"<section><div class='still'>{still(trace, view.of_run(result, trace))}</div></section>"
          for (result, _), trace in zip(runs, traces, strict=True)),
        "</div>",
    ])  # fmt: skip
    return framed("Runs side by side", body)


# -- Parts ------------------------------------------------------------------------------------------------


def part(name: str) -> Template:
    return Template((PARTS / name).read_text(encoding="utf-8"))


def framed(title: str, body: str, script: str = "") -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return part("frame.html").substitute(
        title=text(title),
        style=part("report.css").template,
        body=body,
        script=script,
        script_hash=f"sha256-{digest}",
    )


def heading(result: Result) -> str:
    header, scenario = result.model.header, result.scenario
    facts = f"broker {header.broker} · seed {header.seed} · {result.seconds:.1f} s · lab {header.lab}"
    unproven = "".join(f"<p class='unknown'>Proves nothing: {text(reason)}</p>" for reason in result.unproven)
    return (
        f"<h1>{text(scenario.title)}</h1><p class='faint'>{text(header.scenario)} · {text(facts)}</p>"
        f"<p>{escape(visible(scenario.story.strip()))}</p>"
        f"<p class='outcome {result.outcome}'>{result.outcome.upper()}</p>{unproven}"
    )


def verdicts(result: Result) -> str:
    """What is as it should be is folded away."""
    quiet = [ruling for ruling in result.in_focus if ruling.standing in (HOLDS, NOT_APPLICABLE)]
    loud = [ruling for ruling in result.in_focus if ruling not in quiet]
    folded = f"<details{'' if loud else ' open'}><summary>{len(quiet)} hold, or do not apply</summary>"
    return (rulings(loud) if loud else "") + f"{folded}{rulings(quiet)}</details>"


def rulings(shown: Sequence[Ruling]) -> str:
    return table(["Standing", "Invariant", "What was seen"], (
        [f"<span class='{standing.replace(' ', '-')}'>{standing}</span>",
         f"<b>{text(verdict.invariant)}</b><br><small>{text(RULES.get(verdict.invariant, ''))}</small>",
         text(verdict.summary) + (f"<br><small>{text(because)}</small>" if because else "")]
        for verdict, standing, because in shown
    ))  # fmt: skip


def explanations(result: Result) -> Iterator[str]:
    for verdict, standing, _ in result.in_focus:
        lines = list(explain(verdict, result.model)) if standing in (VIOLATED, UNKNOWN) else []
        if lines:
            told = "\n".join(escape(visible(line)) for line in lines[1:])
            yield f"<section><h2>{text(verdict.invariant)}: {text(lines[0])}</h2><pre>{told}</pre></section>"


def still(trace: Trace, shown: View) -> str:
    return diagram.draw(trace, shown.events, shown.heading, shown.notes)


def logs(folder: Path) -> Iterator[str]:
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
        told = "\n".join(escape(brief(line)) for line in lines[-LOG_LINES:])
        if told:
            title = f"{text(log.stem)} <small>{len(lines)} lines</small>"
            yield f"<details><summary>{title}</summary><pre>{told}</pre></details>"
        else:
            yield f"<p class='faint'>{text(log.stem)}: nothing</p>"


def data(result: Result, trace: Trace, shown: View) -> str:
    """What the script draws: events and messages as rows of bare values, in the order of report.js."""
    place = {lane: number for number, lane in enumerate(trace.lanes)}

    def us(time_ns: int) -> int:
        return (time_ns - trace.start_ns) // 1000

    document: dict[str, Any] = {
        "lanes": trace.lanes,
        "span": us(trace.events[-1].time_ns) if trace.events else 0,
        "events": [
            [e.index, us(e.time_ns), place[e.lane], e.kind, brief(e.text),
             [brief(job) for job in e.jobs], e.state, diagram.side_of(e, trace),
             int(e.measured), int(e.idle)]
            for e in trace.events
        ],
        "messages": [[m.source, m.target, place.get(m.lane), brief(m.text), m.fate]
                     for m in trace.messages],
        "bands": [[place[b.lane], b.kind, us(b.begin_ns), us(b.end_ns), b.text]
                  for b in trace.bands if b.lane in place],
        "notes": shown.notes,
        "jobColumns": JOB_COLUMNS,
        "jobs": list(job_rows(result)),
    }  # fmt: skip
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")


def job_rows(result: Result) -> Iterator[list[Any]]:
    """Of JOB_COLUMNS. Those that were delivered most come first: they have most to tell."""
    model, start_ns = result.model, result.model.header.start_ns
    for job in sorted(model.jobs.values(), key=lambda job: -len(job.deliveries)):
        asked_ns = min((call.invoked_ns for call in job.submits), default=None)
        acked_ns = min((ack.returned_ns for ack in job.acks if ack.outcome == "ok"), default=None)
        times = [at_ns and round((at_ns - start_ns) / 1e9, 6) for at_ns in (asked_ns, acked_ns)]
        holders = ", ".join(dict.fromkeys(delivery.call.process for delivery in job.deliveries))
        yield [brief(job.nonce), fate(job, model), len(job.deliveries), *times, holders]


# -- Two runs ---------------------------------------------------------------------------------------------


def name(result: Result) -> str:
    header = result.model.header
    return f"{header.scenario} on {header.broker}, seed {header.seed}"


def figures(results: Sequence[Result]) -> Iterator[tuple[str, list[str]]]:
    """Row by row: what it is, and what it was in each run."""
    yield "outcome", [result.outcome for result in results]
    yield "seconds", [f"{result.seconds:.1f}" for result in results]
    counts = [result.model.counts() for result in results]
    for figure in counts[0]:
        if any(count[figure] for count in counts):
            yield figure.replace("_", " "), [str(count[figure]) for count in counts]
    standings = [{r.verdict.invariant: r.standing for r in result.rulings} for result in results]
    for invariant in dict.fromkeys(name for standing in standings for name in standing):
        yield invariant, [standing.get(invariant, "") for standing in standings]
    for what, value in (("median seconds to done", 0.5), ("99 of 100 done within, s", 0.99)):
        yield what, [quantile(pace(result.model), value) for result in results]


def quantile(own: Pace, part: float) -> str:
    latencies = sorted(latency for _, latency in own.done)
    return f"{latencies[int(part * (len(latencies) - 1))]:.3f}" if latencies else ""


def table(head: Sequence[str], rows: Iterable[list[str]]) -> str:
    """Of cells that are markup already."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"
