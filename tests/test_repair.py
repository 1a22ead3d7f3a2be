"""A story shows a bug if the patient fails it and the reference does not; a repair is held against it.

All patients are judged by `python -m bench repairs`, which takes minutes; here, one that is quickly seen.
"""

import json
import os
from pathlib import Path

import pytest

from bench import repairs
from dsjq_lab import cli
from dsjq_lab.brokers import Dsjq
from dsjq_lab.grading import desk, exercise, judge, repair
from dsjq_lab.grading.exercise import Patient
from dsjq_lab.grading.explanation import handed_in
from dsjq_lab.grading.results import FAILED, PASSED

ROOT = Path(__file__).parents[1]
NAME = "02-ben"
STORY = """
scenario: 1
title: A test
story: A test.
load: {jobs: 1}
finish_within: 10s
focus: [no_lost_job]
"""


@pytest.mark.parametrize("name", repairs.names())
def test_each_patient_has_an_answer_that_fits_it_and_a_story_that_may_be_played(name):
    case = repairs.Case.of(name)
    assert case.sick != case.sound
    for broker in (case.sick, case.sound):
        compile(broker, name, "exec")
    asked = exercise.load(ROOT / "exercises" / "repair" / name)
    assert [one.check.points for one in asked.checks] == [10, 10]
    terms = asked.checks[0].check.patient
    assert repair.readable(ROOT / "tests" / "answers" / "repair" / name / repair.OWN, terms).focus


def test_no_answer_lies_where_students_look():
    assert not [file for file in (ROOT / "exercises").rglob("*") if "answer" in file.name]
    assert len(repairs.names()) == len(list((ROOT / "exercises" / "repair").glob("[0-9]*"))) == 12


def find(tmp_path: Path, story: str, broker: str | None = None, number: int = 0):
    (tmp_path / repair.OWN).write_text(story)
    (tmp_path / exercise.PATIENT).write_text(broker or repairs.Case.of(NAME).sick)
    asked = exercise.load(ROOT / "exercises" / "repair" / NAME).checks[number]
    return judge.find(asked, Dsjq(tmp_path / exercise.PATIENT), 1.0)


def test_a_story_that_shows_the_bug_earns_its_points(tmp_path):
    found = find(tmp_path, repairs.Case.of(NAME).story)
    assert found.verdict == PASSED and "40 of 40 schedules" in found.evidence


def test_a_broker_that_is_not_repaired_earns_nothing(tmp_path):
    unrepaired = find(tmp_path, repairs.Case.of(NAME).story, number=1)
    assert unrepaired.verdict == FAILED and "delivered 4 times" in unrepaired.evidence


def test_a_story_that_every_broker_passes_earns_nothing(tmp_path):
    trivial = find(tmp_path, repairs.Case.of(NAME).trivial)
    assert trivial.verdict == FAILED and "in 0 of 40 schedules" in trivial.evidence


def test_a_bug_that_any_story_meets_now_and_then_has_to_be_made_likely(tmp_path):
    case = repairs.Case.of("12-lea")
    (tmp_path / repair.OWN).write_text(case.trivial)
    (tmp_path / exercise.PATIENT).write_text(case.sick)
    asked = exercise.load(ROOT / "exercises" / "repair" / "12-lea").checks[0]
    trivial = judge.find(asked, Dsjq(tmp_path / exercise.PATIENT), 1.0)
    assert trivial.verdict == FAILED and "it should in at least 16" in trivial.evidence


def test_a_story_that_accuses_the_reference_earns_nothing_and_is_told_why(tmp_path):
    hasty = STORY.replace("10s", "1ms").replace("no_lost_job", "everything_finishes")
    hasty += "workers: {work_time: 2s}\nbroker: {ack_timeout: 1s, max_attempts: 2}\n"
    found = find(tmp_path, hasty)
    assert found.verdict == FAILED
    assert "accuses the reference" in found.evidence or "prove nothing" in found.evidence


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("focus: [no_lost_job]", ""), "Name under `focus`"),
        (("jobs: 1", "jobs: 1000"), "load.jobs is 1000; here it may be 100 at most"),
        (("10s", "5m"), "finish_within in seconds is 300"),
        (("jobs: 1}", "jobs: 1}\nbroker: {store: journal}"), "keeps its jobs in memory"),
        (("jobs: 1}", "jobs: 1}\nexpect: [{violated: [fifo], because: x}]"), "Leave out `expect`"),
        (("jobs: 1}", "jobs: 1}\npython: x"), "there is no 'python' here"),
        (("jobs: 1}", "jobs: !!python/name:os.system}"), "Your scenario has mistakes"),
        (("jobs: 1}", "jobs: 1}\nworkers: {count: 17}"), "load.producers + workers.count"),
    ],
)
def test_a_story_is_data_and_has_its_bounds(change, complaint, tmp_path):
    own = tmp_path / repair.OWN
    own.write_text(STORY.replace(*change))
    with pytest.raises(repair.NotShown) as refusal:
        repair.readable(own, Patient(asks="scenario"))
    assert complaint in str(refusal.value)


def test_without_a_story_it_says_so(tmp_path):
    with pytest.raises(repair.NotShown, match="There is no"):
        repair.taken(tmp_path / repair.OWN, tmp_path)


def test_mistakes_are_told_as_of_the_file_that_the_student_knows(tmp_path):
    found = find(tmp_path, STORY.replace("jobs", "jubs"))
    assert found.verdict == FAILED and "\nstory.yaml:5:8: error[unknown-key]" in found.evidence


def test_a_story_that_is_a_link_shows_nobody_what_it_leads_to(tmp_path):
    secret = tmp_path / "hidden.yaml"
    secret.write_text("secret: talk")
    (tmp_path / repair.OWN).symlink_to(secret)
    with pytest.raises(repair.NotShown, match="cannot be read") as refusal:
        repair.taken(tmp_path / repair.OWN, tmp_path)
    assert "talk" not in str(refusal.value)


# -- The explanation


FORM = desk.EXPLANATION.format(title="A test", student="Ann Onym", seed=7)


@pytest.mark.parametrize(
    ("wrote", "explanation"),
    [
        (FORM.replace("\n2.", "Job 3.\n2.").encode(), (FORM.replace("\n2.", "Job 3.\n2."), "")),
        (b"job 3 is lost", ("job 3 is lost", "")),
        (b"\xff\xfe", ("\ufffd\ufffd", "")),
        (FORM.encode(), ("", "no question is answered")),
        (b" \n", ("", "no question is answered")),
        (b"x" * 40_000, ("x" * 32768, "more than 32 KiB: this is the beginning")),
    ],
    ids=["form", "free", "no UTF-8", "empty form", "empty", "endless"],
)  # fmt: skip
def test_an_explanation_is_taken_along(wrote, explanation, tmp_path):
    (tmp_path / "explanation.md").write_bytes(wrote)
    assert handed_in(tmp_path) == explanation


def test_one_that_is_not_there_is_told(tmp_path):
    assert handed_in(tmp_path) == ("", "missing")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_one_that_is_no_file_is_not_read(kind, tmp_path):
    path = tmp_path / "explanation.md"
    (tmp_path / "secret").write_text("secret")
    match kind:
        case "link":
            path.symlink_to(tmp_path / "secret")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
    text, remark = handed_in(tmp_path)
    assert text == "" and remark.startswith("cannot be read: ")


def test_a_desk_has_all_that_is_needed_and_a_seed_of_its_own(tmp_path, capsys, monkeypatch):
    seeds = {}
    for student in ("Ann Onym", "ann  onym", "Bob"):
        desk = tmp_path / student
        assert cli.main(["start", "repair/2", str(desk), "--student", student, "--json"]) == 0
        files = json.loads(capsys.readouterr().out)["files"]
        assert {Path(file).name for file in files} == {
            "broker.py", "broker.cmd", "README.md", "HOW.md", "story.yaml", "explanation.md"
        }  # fmt: skip
        (line,) = [line for line in (desk / "story.yaml").read_text().splitlines() if "seed:" in line]
        seeds[student] = line.split()[1]
        assert seeds[student] in (desk / "explanation.md").read_text()
    assert seeds["Ann Onym"] == seeds["ann  onym"] != seeds["Bob"]
    assert cli.main(["validate", str(desk / "story.yaml")]) == 0
    monkeypatch.chdir(desk)
    assert cli.main(["check", "repair/2"]) == 1
    assert "Name under `focus`" in capsys.readouterr().out


def test_a_desk_is_never_written_over(tmp_path, capsys):
    (tmp_path / "broker.py").write_text("mine")
    assert cli.main(["start", "repair/2", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "broker.py").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_where_no_broker_is_meant_it_asks_which(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "repair/2"]) == 2
    assert "no broker.py here" in capsys.readouterr().err
    assert cli.main(["check", "build/1"]) == 2
    assert "which broker?" in capsys.readouterr().err


def test_stages_share_a_desk_and_the_broker_on_it_is_the_students(tmp_path, capsys, monkeypatch):
    desk = tmp_path / "my desk"
    assert cli.main(["start", "build/3", str(desk)]) == 0
    said = capsys.readouterr().out
    assert "03-thread-safety/README.md; then: cd '" in said and "dsjq-lab check build/3" in said
    assert (desk / "03-thread-safety" / "rush.yaml").is_file()
    assert not list(desk.rglob("exercise.yaml"))
    (desk / "broker.py").write_text("mine")
    assert cli.main(["start", "build/1", str(desk)]) == 0
    assert (desk / "01-framing" / "README.md").is_file() and (desk / "broker.py").read_text() == "mine"
    monkeypatch.setenv("DSJQ_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(desk)
    (desk / "broker.py").write_text((ROOT / "exercises" / "starters" / "python" / "broker.py").read_text())
    capsys.readouterr()
    assert cli.main(["check", "build/1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["total"] == 2


@pytest.mark.parametrize(
    ("there", "words", "complaint"),
    [
        ("01-framing/README.md", [], "README.md is there already, and nothing was changed"),
        ("broker.js", ["--language", "javascript"], "broker.js is there already, and nothing was changed"),
        ("broker.cmd", ["--language", "javascript"], "a broker was begun already"),
        ("notes.txt", ["--language", "javascrypt"], "no starter in javascrypt (did you mean javascript?)"),
        ("notes.txt", ["--language", "go"], "no starter in go: javascript, python"),
    ],
)  # fmt: skip
def test_a_stage_is_not_laid_over_what_is_there(there, words, complaint, tmp_path, capsys):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    assert cli.main(["start", "build/1", str(tmp_path), *words]) == 2
    assert complaint in capsys.readouterr().err
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_patient_comes_in_one_language(tmp_path, capsys):
    assert cli.main(["start", "repair/2", str(tmp_path / "desk"), "--language", "python"]) == 2
    assert "--language is for stages" in capsys.readouterr().err
