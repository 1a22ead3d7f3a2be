"""Grades one submission: each check is attempted by a process of its own, which is watched from here.

The order is what makes the score one to trust. First a results file is written that says that the grader did
not finish; then each check is judged; then everything of the submission is ended; only then the results take
the place of that file. So a valid one is there whatever happens, and nobody writes it but us.
"""

import fcntl
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dsjq_lab.brokers import Command
from dsjq_lab.errors import UsageError
from dsjq_lab.grading import exercise
from dsjq_lab.grading.exercise import Asked, Exercise
from dsjq_lab.grading.explanation import handed_in
from dsjq_lab.grading.isolation import Isolation, disk_bytes
from dsjq_lab.grading.judge import SLOWER, Finding, marked, points_moved
from dsjq_lab.grading.limits import MIB, Limits
from dsjq_lab.grading.results import FAILED, NEEDS_A_PERSON, NOT_JUDGED, Mark, Report
from dsjq_lab.grading.submission import command_line, copied
from dsjq_lab.processes import Processes, describe

WATCH_INTERVAL_S = 0.1
DISK_INTERVAL_S = 1.0
UNFINISHED = "the grader did not finish: this is no score; grade again"
Tell = Callable[[Mark], None]


class Task(NamedTuple):
    """What is to be graded, and how."""

    exercise: Path
    hidden: Path | None
    submission: Path
    limits: Limits


class Stopped(BaseException):
    """Somebody told the grader to end."""


def grade(task: Task, keep: Callable[[Report], None], tell: Tell = lambda mark: None) -> Report:
    """The report, which was also given to `keep`: at first one without a score, at the end this one.

    Raises UsageError or ScenarioErrors for an exercise that cannot be read; all else is in the report.
    """
    asked = exercise.load(task.exercise, task.hidden)
    undone = [blank(each, NOT_JUDGED, "") for each in asked.checks]
    report = Report(asked.name, asked.title, undone, grader_error=UNFINISHED)
    keep(report)
    try:
        with stoppable():
            report = graded(task, asked, tell)
    except (Stopped, KeyboardInterrupt) as stop:
        report = report._replace(grader_error=f"the grader was stopped before its end ({stop or 'Ctrl-C'})")
    except Exception as problem:  # a bug of ours must not look like a zero of theirs
        detail = "".join(traceback.format_exception(problem))
        report = report._replace(grader_error=f"the grader failed: {problem}\n{detail}")
    keep(report)
    return report


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM unwinds us, so that what was started is ended."""

    def stop(signum: int, frame: object) -> None:
        raise Stopped(signal.Signals(signum).name)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def graded(task: Task, asked: Exercise, tell: Tell) -> Report:
    explanation = handed_in(task.submission) if asked.has_patient else None
    try:
        broker = Command(command_line(task.submission), task.submission)
    except UsageError as problem:
        marks = [blank(each, FAILED, str(problem)) for each in asked.checks]
        return Report(asked.name, asked.title, marks, explanation=explanation)
    asked, notes = points_moved(asked, broker)
    marks, deadline_s = [], time.monotonic() + task.limits.total_s
    with tempfile.TemporaryDirectory(prefix="dsjq-lab-grade-") as work, Isolation.lent() as isolation:
        isolation.prove(copied(task.submission, Path(work) / "submission", isolation), task.limits)
        for number, each in enumerate(asked.checks):
            marks.append(mark(task, each, number, Path(work), isolation, deadline_s))
            tell(marks[-1])
        notes += tuple(isolation.gaps())
    return Report(asked.name, asked.title, marks, notes, explanation=explanation)


def blank(asked: Asked, verdict: str, evidence: str) -> Mark:
    return marked(asked, Finding(verdict, evidence), 0.0)


def mark(
    task: Task, asked: Asked, number: int, work: Path, isolation: Isolation, deadline_s: float
) -> Mark:
    """One check; what may be the fault of a busy machine is attempted again, slower, and alone."""
    started_s = time.monotonic()
    finding = Finding(NEEDS_A_PERSON, may_be_busy=True)
    for scale in (1.0, SLOWER):
        if finding.may_be_busy:
            with machine(alone=scale > 1):
                attempt = Attempt(task, number, work, isolation, scale * task.limits.time_scale)
                finding = attempt.make(min(deadline_s, time.monotonic() + scale * task.limits.check_s))
    evidence = finding.evidence.replace(str(work), "…")  # which is gone when somebody reads this
    return marked(asked, finding._replace(evidence=evidence, runs=()), time.monotonic() - started_s)


@contextmanager
def machine(alone: bool) -> Iterator[None]:
    """Among all gradings of this user here: beside the others, or when no other makes an attempt."""
    path = Path(tempfile.gettempdir()) / f"dsjq-lab-grading-{os.getuid()}"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


class Attempt:
    """At one check: a fresh copy of the submission, a process that judges it, and a watch over both."""

    def __init__(
        self, task: Task, number: int, work: Path, isolation: Isolation, time_scale: float
    ) -> None:
        self.limits, self.isolation, self.work = task.limits, isolation, work
        self.home = copied(task.submission, work / "submission", isolation)
        self.found = work / "found.json"
        self.found.unlink(missing_ok=True)
        self.told = {
            "exercise": str(task.exercise), "hidden": task.hidden and str(task.hidden), "number": number,
            "folder": str(self.home), "uid": isolation.uid, "mark": isolation.mark,
            "limits": task.limits, "time_scale": time_scale, "found": str(self.found),
        }  # fmt: skip
        self.disk_s = 0.0

    def make(self, deadline_s: float) -> Finding:
        """Returns when nothing of it runs any more."""
        seconds = deadline_s - time.monotonic()
        if seconds <= 0:
            return Finding(NEEDS_A_PERSON, f"its {self.limits.total_s:g} s for all checks are used up")
        excess, over = "", False
        with Processes(self.work / "logs") as processes:
            command = [sys.executable, "-P", "-m", "dsjq_lab.grading.runner", json.dumps(self.told)]
            env = {"DSJQ_RUNS": str(self.work / "runs")}
            runner = processes.spawn("judge", command, env=env, cwd=self.work)
            while not processes.wait_exit(runner, WATCH_INTERVAL_S) and not excess and not over:
                excess, over = self.excess(), time.monotonic() > deadline_s
            self.isolation.end_all()
        if excess:
            return Finding(FAILED, f"The submission was stopped: {excess}.")
        if self.found.is_file():
            return Finding(*json.loads(self.found.read_text()))
        if over:
            return Finding(NEEDS_A_PERSON, f"no verdict within {seconds:.0f} s", may_be_busy=True)
        how = f"{describe(runner.exit_status)}\n{runner.last_words()}"
        return Finding(NEEDS_A_PERSON, f"the process that judged it has ended: {how}", may_be_busy=True)

    def excess(self) -> str:
        """Which limit the submission has passed."""
        usage, limits = self.isolation.usage(), self.limits
        if usage.tasks >= limits.processes:
            return f"it had {limits.processes} processes and threads, and may not have more"
        if usage.private_bytes > limits.memory_bytes:
            return f"it used more than {limits.memory_bytes // MIB} MiB of memory"
        if time.monotonic() > self.disk_s + DISK_INTERVAL_S:
            used = disk_bytes(self.home) + sum(map(disk_bytes, (self.work / "runs").glob("*/*/data")))
            self.disk_s = time.monotonic()
            if used > limits.disk_bytes:
                return f"it wrote more than {limits.disk_bytes // MIB} MiB"
        return ""
