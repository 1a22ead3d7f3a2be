"""Grades a folder of submissions: each by a grader of its own, so that a bad one harms no other.

In the folder of results there is a file for each, `NAME.json`, and a table of all. A batch that was stopped
goes on where it was: what has a finished result, for the same exercise and files, is not graded again.
"""

import csv
import hashlib
import io
import json
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dsjq_lab.errors import UsageError
from dsjq_lab.grading.results import Report
from dsjq_lab.grading.submission import FILE
from dsjq_lab.processes import Process, Processes, describe


class Row(NamedTuple):
    """One submission of a batch."""

    name: str
    report: Report
    digest: str
    again: bool = False  # its result was there already

    def as_json(self) -> dict[str, object]:
        return {"submission": self.name, "digest": self.digest, "report": self.report.as_json()}

    def line(self, width: int) -> str:
        return f"{self.name:<{width}}  {self.report.line()}{'  (graded before)' if self.again else ''}"


def submissions(folder: Path) -> list[Path]:
    """Its sub-folders, if it is not one submission itself."""
    if (folder / FILE).exists() or not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def is_batch(folder: Path) -> bool:
    return any((each / FILE).exists() for each in submissions(folder))


def graded(folder: Path, words: Sequence[str], asked: Sequence[Path], out: Path, jobs: int) -> Iterator[Row]:
    """A row for each submission, as it is done. `words` are those of `grade` without the submission;
    `asked` are the folders of which an exercise consists.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} should be a folder: there is a result for each submission")
    out.mkdir(parents=True, exist_ok=True)
    about = " ".join(words) + "".join(map(digest, asked))
    waiting: deque[tuple[Path, str]] = deque()
    for each in submissions(folder):
        mine = hashlib.sha256((about + digest(each)).encode()).hexdigest()[:16]
        before = finished(out / f"{each.name}.json", mine)
        if before:
            yield Row(each.name, before, mine, again=True)
        else:
            waiting.append((each, mine))
    running: dict[Process, tuple[Path, str]] = {}
    with Processes(out / "logs") as graders:
        while waiting or running:
            while waiting and len(running) < jobs:
                each, mine = waiting.popleft()
                result = out / f"{each.name}.json"
                one = ["grade", *words, "--submission", str(each), "--format", "json", "--out", str(result)]
                grader = graders.spawn(each.name, [sys.executable, "-m", "dsjq_lab", *one])
                running[grader] = (each, mine)
            for grader in graders.receive():
                each, mine = running.pop(grader)
                yield kept(out / f"{each.name}.json", each.name, mine, grader)


def kept(path: Path, name: str, mine: str, grader: Process) -> Row:
    """What the grader left, with the digest by which it is known the next time."""
    try:
        report = Report.of_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError):
        how = f"the grader ended without a result: {describe(grader.exit_status)}\n{grader.last_words()}"
        report = Report("", "", [], grader_error=how)
    row = Row(name, report, mine)
    path.write_text(json.dumps(row.as_json(), indent=2) + "\n")
    return row


def finished(path: Path, mine: str) -> Report | None:
    try:
        stored = json.loads(path.read_text())
        report = Report.of_json(stored["report"])
        return report if stored["digest"] == mine and not report.grader_error else None
    except (OSError, ValueError, KeyError):
        return None


def digest(folder: Path) -> str:
    """Of all that is in a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        whole.update(f"{path.relative_to(folder)}\0{path.lstat().st_mode}\0".encode(errors="surrogateescape"))
        if path.is_file() and not path.is_symlink():
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def write(rows: Sequence[Row], out: Path) -> None:
    """results.csv, a line a submission and a column a check; results.json, all of it."""
    rows = sorted(rows)
    checks = list(dict.fromkeys(mark.name for row in rows for mark in row.report.marks))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    about = ["submission", "score", "total", "of", "undecided", "grader_error"]
    about += ["explanation"] if any(row.report.explanation for row in rows) else []
    writer.writerow([*about, *checks])
    for name, report, *_ in rows:
        earned = {mark.name: mark.earned if mark.is_decided else mark.verdict for mark in report.marks}
        score = "" if report.score is None else report.score
        error = report.grader_error.partition("\n")[0]
        first = [name, score, report.total, report.of, report.undecided, error]
        if "explanation" in about:
            first.append(report.explanation.line() if report.explanation else "")
        writer.writerow([*map(harmless, first), *(harmless(earned.get(check, "")) for check in checks)])
    (out / "results.csv").write_text(table.getvalue())
    whole = [row.as_json() for row in rows]
    (out / "results.json").write_text(json.dumps(whole, indent=2) + "\n")


def harmless(value: object) -> object:
    """A name that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def summary(rows: Sequence[Row]) -> Iterator[str]:
    scored = [row.report.score for row in rows if row.report.score is not None]
    yield f"{len(rows)} submissions, {len(scored)} with a score"
    if scored:
        yield f"points: {min(scored)} to {max(scored)}, mean {sum(scored) / len(scored):.1f}"
    for row in rows:
        if row.report.score is None:
            yield f"  look at {row.name}: {row.report.line()}"
