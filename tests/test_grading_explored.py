"""Who explores a submission may read a hidden scenario, and is the submission before it loads a line of it.

As root that is another user, who can read neither the hidden files nor, often, the lab and its Python.
"""

import os
from pathlib import Path

import pytest

from bench.stages import SOLUTIONS
from dsjq_lab import library
from dsjq_lab.grading import grade, isolation
from dsjq_lab.grading.limits import Limits
from dsjq_lab.grading.results import FAILED, NEEDS_A_PERSON, PASSED

AS_ROOT = os.getuid() == 0
SHEET = "title: S\nchecks: [{name: schedules, points: 2, explore: secret.yaml, runs: 3, explain: Lock.}]\n"
WHOLE = """
import linecache
import stage02

class Broker(stage02.Broker):
    def request(self, rest, client):
        ANSWER

BEFORE
stage02.stage01.serve(Broker)
"""
HONEST = "return super().request(rest, client)"
MANY = """
import collections.abc, concurrent.futures, dataclasses, decimal, email.message, encodings.idna, enum
import http.server, json, logging.handlers, pathlib, queue, selectors, socketserver, urllib.parse, uuid
try:
    import msvcrt
except ModuleNotFoundError:
    msvcrt = None
import sqlite3, ssl, pytest  # which the explored world lacks, and nobody uses here
assert "\u20ac".encode("cp1252") == bytes([128]) and "%s" % decimal.Decimal("1.5") == "1.5"
logging.getLogger("x").warning("hello")
"""


@pytest.fixture
def explored(tmp_path: Path):
    """The mark of a broker for a check that is hidden, and that explores."""
    exercise, hidden, submission = tmp_path / "exercise", tmp_path / "hidden", tmp_path / "submission"
    for folder in (exercise, hidden, submission):
        folder.mkdir()
    for folder in (exercise, hidden):
        (folder / "exercise.yaml").write_text(SHEET)
        (folder / "secret.yaml").write_text(library.find("scenarios", "first_job").read_text())
    hidden.chmod(0o700)
    for number in (1, 2):
        file = SOLUTIONS / f"stage{number:02}.py"
        (submission / file.name).write_text(file.read_text())

    def run(before: str = "", answer: str = HONEST):
        program = WHOLE.replace("ANSWER", answer).replace("BEFORE", before)
        (submission / "mine.py").write_text(program.replace("{hidden}", str(hidden)))
        (submission / "broker.cmd").write_text("python3 mine.py --port {port}\n")
        report = grade.grade(grade.Task(exercise, hidden, submission, Limits()), lambda report: None)
        assert not report.grader_error and report.notes == (() if AS_ROOT else (isolation.AS_OURSELVES,))
        seen, secret = report.marks
        assert seen.verdict == secret.verdict and secret.hidden
        return secret

    return run


def test_schedules_of_a_python_program_are_explored(explored):
    assert explored().verdict == PASSED


def test_it_may_import_what_it_could_import_before(explored):
    mark = explored(MANY)
    assert mark.verdict == PASSED, mark.evidence


def test_what_does_not_even_start_has_failed(explored):
    mark = explored("raise RuntimeError('my mistake')")
    assert mark.verdict == FAILED and "my mistake" in mark.evidence, mark.evidence


def test_what_fails_in_a_schedule_has_failed_and_its_story_is_told(explored):
    mark = explored(answer='return "EMPTY"')
    assert mark.verdict == FAILED and "everything_finishes" in mark.evidence


READS = "if linecache.getlines('{file}'): raise SystemExit('I have read it')"  # of the real disk


def test_it_can_read_what_is_its_own(explored):
    mark = explored(READS.replace("{file}", "broker.cmd"))
    assert mark.verdict == FAILED and "I have read it" in mark.evidence, mark.evidence


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_it_cannot_read_the_hidden_scenario_that_it_plays(explored):
    assert explored(READS.replace("{file}", "{hidden}/secret.yaml")).verdict == PASSED


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ("import ssl; ssl.create_default_context()", HONEST),
        ("", "import ctypes; ctypes.CDLL(None)"),
        ("", "try:\n            import os; os.fork()\n        except Exception: return 'EMPTY'"),
    ],
    ids=["at the start", "in a thread", "and swallowed"],
)
def test_what_the_explored_world_lacks_needs_a_person(before, answer, explored):
    mark = explored(before, answer)
    assert mark.verdict == NEEDS_A_PERSON and "is not simulated" in mark.evidence


def test_what_it_lacks_and_the_program_does_without_is_no_matter(explored):
    assert explored("import os; has_fork = hasattr(os, 'fork')").verdict == PASSED
