"""Results have the published fields; a batch is resumed; a bundle grades where it was unpacked."""

import base64
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from dsjq_lab import cli
from dsjq_lab.grading import batch, bundle, formats
from dsjq_lab.grading.results import FAILED, NEEDS_A_PERSON, NOT_JUDGED, PASSED, Explanation, Mark, Report

MARKS = [
    Mark("a | b", 2, PASSED, seconds=1.2),
    Mark("c", 3, FAILED, "a< \x1b[31mno\x00", "Lock."),
    Mark("d", 4, NEEDS_A_PERSON, "too busy", "Wait."),
    Mark("secret", 1, FAILED, "the hidden talk", "Think.", hidden=True),
]
REPORT = Report("build/01-test", "A test", MARKS, ("A note.",))
UNFINISHED = Report("build/01-test", "A test", [Mark("c", 3, NOT_JUDGED)], grader_error="the grader failed")

# https://gradescope-autograders.readthedocs.io/en/latest/specs/, read in November 2026
GRADESCOPE = {"score", "execution_time", "output", "output_format", "test_output_format", "test_name_format",
              "visibility", "stdout_visibility", "extra_data", "tests", "leaderboard"}  # fmt: skip
GRADESCOPE_TEST = {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format",
                   "tags", "visibility", "extra_data"}  # fmt: skip
VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}


@pytest.mark.parametrize("report", [REPORT, UNFINISHED], ids=["finished", "unfinished"])
def test_gradescope_knows_every_field(report):
    result = json.loads(formats.as_gradescope(report))
    assert set(result) <= GRADESCOPE and isinstance(result["score"], int)
    assert {result["visibility"], result["stdout_visibility"]} <= VISIBILITY
    for test in result["tests"]:
        assert set(test) <= GRADESCOPE_TEST and test.get("status") in (None, "passed", "failed")
        assert test.get("score", 0) <= test.get("max_score", 0)


def test_what_is_undecided_is_no_number_at_gradescope():
    result = json.loads(formats.as_gradescope(REPORT))
    undecided = result["tests"][2]
    assert "score" not in undecided and undecided["name"] == "d: needs a person, 4 points open"
    assert "neither earned nor lost" in result["output"] and result["score"] == 2


def test_classroom_gets_what_its_reporter_reads():
    """src/main.js and src/notify-classroom.js of classroom-resources/autograding-grading-reporter."""
    result = json.loads(formats.as_classroom(REPORT))
    assert result["status"] in ("pass", "fail", "error") and result["max_score"] == 6
    assert sum(test["score"] for test in result["tests"]) == 2
    assert [test["status"] for test in result["tests"]] == ["pass", "fail", "error", "fail"]
    assert json.loads(formats.as_classroom(UNFINISHED))["status"] == "error"


def test_junit_counts_failures_and_errors():
    suite = ElementTree.fromstring(formats.as_junit(REPORT))
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "2", "1"]
    assert suite.find("testcase/failure").text.count(r"\x1b[31mno\x00") == 1


@pytest.mark.parametrize("form", [form for form in formats.FORMATS if form != "json"])
def test_students_do_not_see_what_a_hidden_check_saw(form):
    assert "the hidden talk" not in formats.FORMATS[form](REPORT)
    assert "the hidden talk" in formats.as_json(REPORT)


@pytest.mark.parametrize("form", formats.FORMATS)
def test_a_grader_that_failed_never_says_zero(form):
    text = formats.FORMATS[form](UNFINISHED)
    assert "NOT A SCORE" in text or json.loads(text)["score"] is None


def test_a_report_survives_json():
    for report in (REPORT, WROTE):
        assert Report.of_json(json.loads(formats.as_json(report))) == report


WROTE = REPORT._replace(explanation=Explanation("1. Which?\nJob 3 \x1b[31m"))
MISSING = REPORT._replace(explanation=Explanation("", "missing"))


@pytest.mark.parametrize("form", [form for form in formats.FORMATS if form != "classroom"])
def test_an_explanation_is_for_a_person_and_changes_no_number(form):
    told = formats.FORMATS[form](WROTE)
    assert "Job 3" in told and "\x1b[31m" not in told
    assert "missing" in formats.FORMATS[form](MISSING)
    assert "explanation.md" not in formats.FORMATS[form](REPORT)
    if form == "gradescope":
        *tests, last = json.loads(told)["tests"]
        assert tests == json.loads(formats.as_gradescope(REPORT))["tests"]
        assert set(last) == {"name", "output", "output_format"}


def test_a_table_says_whose_explanation_is_to_be_read(tmp_path):
    reports = {"ada": WROTE, "bob": MISSING}
    batch.write([batch.Row(name, report, "") for name, report in reports.items()], tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").open(newline="")))
    assert [row["explanation"] for row in rows] == ["to be read", "missing"]
    batch.write([batch.Row("ada", REPORT, "")], tmp_path)
    assert "explanation" not in (tmp_path / "results.csv").read_text()


# -- Batches and bundles, with an exercise of one talk

BROKER = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    for line in connection.makefile("rb"):
        connection.sendall(b"ANSWER\\n")
"""


@pytest.fixture
def exercise(tmp_path: Path) -> Path:
    folder = tmp_path / "exercises" / "build" / "01-test"
    folder.mkdir(parents=True)
    sheet = "title: T\nchecks: [{name: talk, points: 3, conversation: talk.txt, explain: x}]\n"
    (folder / "exercise.yaml").write_text(sheet)
    (folder / "talk.txt").write_text("a> SUBMIT x\na< JOB_ID *\n")
    (folder / "README.md").write_text("# T\n")
    return folder


def submit(folder: Path, answer: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "broker.py").write_text(BROKER.replace("ANSWER", answer))
    (folder / "broker.cmd").write_text("python3 broker.py {port}\n")
    return folder


def test_a_batch_is_a_table_and_can_be_resumed(exercise, tmp_path, capsys):
    everybody = tmp_path / "everybody"
    submit(everybody / "ada", "JOB_ID 1")
    submit(everybody / "bob", "OK")
    (everybody / "=cmd()").mkdir()  # nothing in it
    words = ["grade", str(exercise), "--submission", str(everybody), "--jobs", "2"]
    words += ["--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "results.csv").read_text())))
    assert {row["submission"]: row["score"] for row in rows} == {"ada": "3", "bob": "0", "'=cmd()": "0"}
    assert capsys.readouterr().out.count("of 3 points") == 3

    (everybody / "bob" / "broker.py").write_text(BROKER.replace("ANSWER", "JOB_ID 7"))
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert said.count("(graded before)") == 2 and "points: 0 to 3, mean 2.0" in said


def test_a_grader_that_dies_harms_no_other(tmp_path, exercise):
    results = tmp_path / "ada.json"
    row = batch.kept(results, "ada", "digest", died(tmp_path))
    assert row.report.score is None and "without a result" in row.report.grader_error
    assert batch.finished(results, "digest") is None


def died(folder: Path):
    from dsjq_lab.processes import Process

    (folder / "x.log").write_text("out of memory\n")
    return Process(1, "ada", 1, folder / "x.log", 0, -9)


def test_a_bundle_for_gradescope_grades(exercise, tmp_path):
    packed = bundle.gradescope(exercise, hidden=exercise)
    assert packed == bundle.gradescope(exercise, hidden=exercise)
    place = tmp_path / "autograder"
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert {"setup.sh", "run_autograder"} <= set(archive.namelist())
        archive.extractall(place / "source")
    (place / "results").mkdir()
    submit(place / "submission", "JOB_ID 1")
    env = {**os.environ, "AUTOGRADER": str(place), "DSJQ_PYTHON": sys.executable}
    subprocess.run(["bash", "-n", place / "source" / "setup.sh"], check=True)
    subprocess.run(["bash", place / "source" / "run_autograder"], env=env, check=True, timeout=100)
    result = json.loads((place / "results" / "results.json").read_text())
    assert set(result) <= GRADESCOPE and result["score"] == 6 and result["output"].startswith("6 of 6 points")
    assert (place / "source" / "hidden").stat().st_mode & 0o077 == 0


def test_a_bundle_for_classroom_has_the_names_that_it_looks_for(exercise, tmp_path):
    with zipfile.ZipFile(io.BytesIO(bundle.classroom(exercise, None))) as archive:
        archive.extractall(tmp_path / "repository")
    repository = tmp_path / "repository"
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "classroom.yml").read_text())
    assert workflow["name"] == "Autograding Tests" and list(workflow["jobs"]) == ["run-autograding-tests"]
    steps = {step.get("name"): step for step in workflow["jobs"]["run-autograding-tests"]["steps"]}
    assert steps["Autograding Reporter"]["with"]["runners"] == "grade"
    shutil.copytree(submit(tmp_path / "mine", "JOB_ID 1"), repository, dirs_exist_ok=True)
    env = {
        **os.environ, "RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "PYTHONPATH": str(repository / ".github/dsjq/lab"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    step = ["bash", "-e", "-c", steps["Grade"]["run"]]
    subprocess.run(step, cwd=repository, env=env, check=True, timeout=100)
    name, _, encoded = (tmp_path / "output").read_text().strip().partition("=")
    assert name == "result" and json.loads(base64.b64decode(encoded))["status"] == "pass"
    assert "3 of 3 points" in (tmp_path / "summary").read_text()


def test_nothing_is_hidden_in_a_repository_of_students(exercise, tmp_path, capsys):
    words = ["bundle", str(exercise), "--format", "classroom", "--hidden", str(exercise), "--out", "x.zip"]
    assert cli.main(words) == 2
    assert "nothing there can be hidden" in capsys.readouterr().err
