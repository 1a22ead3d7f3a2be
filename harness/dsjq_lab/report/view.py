"""Which part of a trace to show, since nobody reads more than some fifty events at once.

A violation is shown by what led to it, a job by its life, and a run in which all went well by the jobs that
its faults hit: they are what it was played for.
"""

from typing import NamedTuple

from dsjq_lab.library import NotFound
from dsjq_lab.report.explain import WRONG
from dsjq_lab.report.trace import Event, Trace, abridged
from dsjq_lab.results import Result
from dsjq_lab.verdict import VIOLATED, Verdict

SHOWN = 50  # events
ABSENCES = ("no_lost_job", "everything_finishes")  # what is wrong here is what did not happen


class View(NamedTuple):
    heading: str
    events: list[Event]
    notes: dict[int, str]  # the evidence: by index of the event, what is wrong with it, or nothing


def of_run(result: Result, trace: Trace, limit: int = SHOWN) -> View:
    for standing in (VIOLATED, "expected", "tolerated"):
        for ruling in result.in_focus:
            if ruling.standing == standing and (ruling.verdict.job or ruling.verdict.ops):
                return of_verdict(ruling.verdict, trace, limit)
    busy = trace.busy()
    jobs: list[str] = []
    for job in dict.fromkeys(strike.holding for strike in result.model.strikes if strike.holding):
        if len(trace.of_jobs([*jobs, job])) <= limit:
            jobs.append(job)
    if len(busy) <= limit:
        return View("The whole run", busy, {})
    if not jobs:
        return View("The run, abridged", abridged(busy, [], limit), {})
    return View(f"What happened to {listed(jobs)}, hit by faults", trace.of_jobs(jobs), {})


def of_verdict(verdict: Verdict, trace: Trace, limit: int = SHOWN) -> View:
    """What led to a violation, with the evidence marked."""
    evidence = trace.told_by(verdict.ops)
    if verdict.job and (verdict.invariant in ABSENCES or not evidence):
        causes = trace.of_jobs([verdict.job])
    elif any(event.jobs for event in evidence):
        causes = trace.causes(evidence)
    else:  # nobody's job: a reply, or a count
        causes = trace.around(evidence[-1], limit) if evidence else []
    answered = {event.call for event in evidence if event.kind == "hear"}
    notes = {event.index: "" for event in evidence if event.kind != "ask" or event.index not in answered}
    if evidence:
        notes[evidence[-1].index] = WRONG.get(verdict.invariant, "")
    return View(f"{verdict.invariant} violated: {verdict.summary}", abridged(causes, evidence, limit), notes)


def of_job(job: str, trace: Trace) -> View:
    """Our name for a job or, where no job of ours is called so, the broker's. Raises NotFound."""
    events = trace.of_jobs([job]) or trace.of_jobs(known_to_the_broker(job, trace))
    if not events:
        raise NotFound(f"no such job in this run: {job}")
    return View(f"What happened to job {job}", abridged(events, [], SHOWN), {})


def known_to_the_broker(id: str, trace: Trace) -> list[str]:
    answers = (["JOB_ID", id], ["JOB", id])
    return [job for event in trace.events if event.text.split(" ")[:2] in answers for job in event.jobs]


def around(op: int, trace: Trace) -> View:
    """What went on around an operation of the history, by its place there. Raises NotFound."""
    told = trace.told_by([op])
    if not told:
        raise NotFound(f"no event of this run is told by operation {op} of its history")
    return View(f"Around operation {op}", trace.around(told[0], SHOWN), {told[0].index: ""})


def listed(jobs: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(jobs[:-1]), jobs[-1]]))
