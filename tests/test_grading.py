"""An exercise is read strictly; a talk is held to the byte; a check passes only if all of it does."""

import json
import sys
from pathlib import Path

import pytest

from dsjq_lab import cli
from dsjq_lab.brokers import Command, Dsjq
from dsjq_lab.errors import UsageError
from dsjq_lab.grading import exercise, judge, progress
from dsjq_lab.grading.conversation import Conversation, as_pattern, unescaped
from dsjq_lab.scenario import ScenarioErrors

REFERENCE = f"{sys.executable} -m dsjq serve --port {{port}} --ack-timeout {{ack_timeout}}s"
TALK = "a> SUBMIT hello\na< JOB_ID $job\n"
STORY = """
scenario: 1
title: A test
story: A test.
broker: {ack_timeout: 1s}
load: {jobs: 3}
finish_within: 4s
"""
SHEET = """
title: A test
checks:
  - {name: a talk, points: 3, conversation: talk.txt, explain: Talk.}
  - {name: a story, points: 2, scenario: story.yaml, explain: Work., set: {load.jobs: 4}}
  - {name: schedules, points: 1, explore: story.yaml, runs: 3, explain: Lock.}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exercise with a check of each kind."""
    place = tmp_path / "exercises" / "build" / "07-test"
    place.mkdir(parents=True)
    (place / "exercise.yaml").write_text(SHEET)
    (place / "talk.txt").write_text(TALK)
    (place / "story.yaml").write_text(STORY)
    return place


def check(folder: Path, capsys, *words: str):
    code = cli.main(["check", str(folder), *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


# -- The sheet


def test_an_exercise_is_found_by_its_number(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("build/7", "build/07", "build/07-test", "exercises/build/7", str(folder)):
        assert exercise.find(name).resolve() == folder
    assert exercise.load(exercise.find("build/7")).name == "build/07-test"


def test_one_that_is_not_there_is_refused_with_what_comes_near(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no such exercise: bild/7 \(did you mean build/7\?\)"):
        exercise.find("bild/7")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("points: 3", "pints: 3"), ":4:20: error[unknown-key]: there is no 'pints' here; did you"),
        (("talk.txt", "tolk.txt"), "error[file]"),
        (("scenario: story", "conversation: x.txt, scenario: story"), "a check has one of"),
        (("load.jobs: 4", "load.jubs: 4"), "there is no 'jubs' here"),
        (("explain: Talk.", "broker: {store: paper}, explain: x"), "should be 'memory', 'journal' or"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_line(folder, change, complaint):
    (folder / "exercise.yaml").write_text(SHEET.replace(*change))
    with pytest.raises(ScenarioErrors) as errors:
        exercise.load(folder)
    assert complaint in str(errors.value)


def test_a_hidden_folder_adds_its_checks(folder, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "secret.txt").write_text(TALK)
    (hidden / "exercise.yaml").write_text(
        "title: Hidden\nchecks: [{name: secret, points: 4, conversation: secret.txt, explain: x}]\n"
    )
    whole = exercise.load(folder, hidden)
    assert [asked.hidden for asked in whole.checks] == [False, False, False, True] and whole.points == 10


def test_the_exercises_that_we_hand_out_are_well_formed():
    for place in exercise.folders():
        if place.parent.name == "build":
            assert exercise.load(place).points and (place / exercise.PAGE).read_text()


# -- Talks


@pytest.mark.parametrize(
    ("text", "reply"),
    [("JOB $job …", "JOB 7 hello"), ("JOB $job …", "JOB 7 "), ("* 7", "JOB 7"), ("ERROR...", "ERROR NO x")],
)
def test_what_a_talk_allows(text, reply):
    assert as_pattern(text, {"$job": "7"}).fullmatch(reply)


@pytest.mark.parametrize(
    ("text", "reply"),
    [("JOB $job …", "JOB 8 hello"), ("JOB_ID $new", "JOB_ID 1 2"), ("OK", "OK "), ("*", "")],
)
def test_what_it_does_not(text, reply):
    assert not as_pattern(text, {"$job": "7"}).fullmatch(reply)


def test_pieces_may_hold_any_byte():
    assert unescaped(r"SUB\nä\x00\r\\") == "SUB\nä\x00\r\\".encode()


@pytest.mark.parametrize("text", ["a? PING\na< OK\n", "a> PING\n", "a| goes home\na< OK\n"])
def test_what_is_no_talk_is_refused(text, tmp_path):
    (tmp_path / "talk.txt").write_text(text)
    with pytest.raises(UsageError):
        Conversation.load(tmp_path / "talk.txt")


# -- Judging


def test_a_program_that_cannot_be_explored_can_have_all_points(folder, capsys):
    code, report = check(folder, capsys, "--broker-cmd", REFERENCE)  # `-m dsjq` is no file
    assert (code, report["score"]) == (0, 6)
    assert [mark["points"] for mark in report["checks"]] == [3, 3]
    assert "no Python program" in report["notes"][0]


def test_a_python_program_is_explored(folder, capsys):
    mine = folder / "mine.py"
    mine.write_text("from dsjq.cli import main\nmain(['serve', *__import__('sys').argv[1:]])\n")
    code, report = check(folder, capsys, "--broker-cmd", f"{sys.executable} {mine} --port {{port}}")
    assert (code, report["score"]) == (0, 6), report
    assert not report["notes"]


def test_it_stops_at_the_first_failure_and_explains_it(folder, capsys):
    code = cli.main(["check", str(folder), "--broker-cmd", f"{sys.executable} -m http.server {{port}}"])
    said = capsys.readouterr().out
    assert code == 1 and "FAILED" in said and "      Talk.\n" in said
    assert "<-- expected: a< JOB_ID $job" in said and "1 more check waits behind" in said


def test_what_never_listens_has_failed(folder, capsys):
    code, report = check(folder, capsys, "--broker-cmd", "false {port}")
    assert code == 1 and report["checks"][0]["verdict"] == "failed"
    assert "crashed before it listened" in report["checks"][0]["evidence"]


def test_a_command_must_take_what_the_check_needs(folder, capsys):
    (folder / "exercise.yaml").write_text(SHEET.replace("points: 3", "points: 3, needs: [data]"))
    _, report = check(folder, capsys, "--broker-cmd", REFERENCE)
    assert report["checks"][0]["evidence"].startswith("its command does not say {data}")


def test_points_of_schedules_go_to_the_others_and_nothing_is_lost(folder):
    whole = exercise.load(folder)
    moved, _ = judge.points_moved(whole, Command("node mine.js {port}"))
    assert moved.points == whole.points
    assert judge.points_moved(whole, Dsjq()) == (whole, ())


def test_the_list_shows_how_far_one_has_come(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.main(["list", "exercises"])
    assert "not checked yet" in capsys.readouterr().out
    check(folder, capsys, "--broker-cmd", "false {port}")
    cli.main(["list", "exercises"])
    assert "A test        " in (said := capsys.readouterr().out) and "NOT YET   0 of 6 points" in said


def test_who_fails_in_a_stage_is_told_of_an_earlier_one_that_has_not_passed():
    first, second, third = (f"build/{name}" for name in ("01-framing", "02-lifecycle", "03-thread-safety"))
    assert progress.not_yet_before(first) == "" == progress.not_yet_before("repair/04-deniz")
    assert progress.not_yet_before(third) == first
    progress.note(first, True, "PASS")
    progress.note(second, False, "NOT YET")
    assert progress.not_yet_before(third) == second
    progress.note(second, True, "PASS")
    assert progress.not_yet_before(third) == ""
