"""Predict, then run: each question of the handbook has its answer, and each answer its question."""

import json
import re
from pathlib import Path

import pytest

from dsjq_lab import cli, yaml12
from dsjq_lab.grading import progress, questions

ROOT = Path(__file__).parent.parent
LABS = questions.labs()
QUESTIONS = [question for lab in LABS.values() for question in lab.questions.values()]


@pytest.fixture(autouse=True)
def nobody_else_s_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("DSJQ_RUNS", str(tmp_path))


def test_the_handbook_and_the_answers_agree_on_what_is_asked():
    answers = yaml12.read((ROOT / questions.ANSWERS).read_bytes()).data
    named = re.findall(r"`(lab\d+/q\d+)`", (ROOT / "LAB.md").read_text())
    assert named == [question.name for question in QUESTIONS]
    assert named == [f"{lab}/{number}" for lab, asked in answers.items() for number in asked]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_what_is_right_is_accepted_and_nothing_else(question):
    given = question.answer.answer
    right = given if isinstance(given, list) else [given]
    for said in right:
        assert question.answer.accepts(f" {str(said).upper()} ")
        assert not question.choices or said in question.choices
    refused = set(question.choices) - set(right) or {"", "something else", "12345"}
    assert not any(question.answer.accepts(said) for said in refused)
    assert len(question.choices) != 1 and question.answer.why != question.answer.hint


def test_a_wrong_answer_gets_the_hint_and_a_right_one_the_reason(capsys):
    answer = LABS["lab3"].questions["lab3/q2"].answer
    assert cli.main(["check", "lab3/q2", "--answer", "a"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"NOT YET {answer.hint}"
    assert cli.main(["check", "lab3/q2", "--answer", "b"]) == 0
    assert " ".join(capsys.readouterr().out.split()) == f"RIGHT {' '.join(answer.why.split())}"
    assert cli.main(["check", "lab3/q3", "--answer", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["right"]


def test_a_lab_shows_its_questions_and_which_are_answered(capsys):
    cli.main(["check", "lab3/q2", "--answer", "B"])
    cli.main(["check", "lab3/q2", "--answer", "C"])  # whoever was right once may try what else there is
    assert set(progress.known()) == {"lab3/q2"}
    capsys.readouterr()
    assert cli.main(["check", "lab3"]) == 0
    assert "1 of 5 questions answered" in (said := capsys.readouterr().out)
    assert "lab3/q2   answered" in said and "lab3/q1   open" in said
    cli.main(["list", "exercises"])
    lab3 = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  lab3 "))
    assert "leases, and who believes in them  " in lab3 and lab3.endswith("1 of 5 questions answered")


def test_without_an_answer_the_question_is_read_out(capsys):
    assert cli.main(["check", "lab3/q2"]) == 0
    said = capsys.readouterr().out
    assert "\n  B it compares moments" in said and "dsjq-lab check lab3/q2 --answer A" in said
    assert progress.known() == {}


@pytest.mark.parametrize(("words", "complaint"), [
    (["lab3/q12", "--answer", "A"], "no such question: lab3/q12 (did you mean lab3/q2?)"),
    (["lab3", "--answer", "A"], "no such question: lab3"),
    (["lab99"], "no such question: lab99"),
    (["lab3/q2", "--answer", "D"], "is answered by a letter: A, B, C"),
    (["build/1", "--answer", "A"], "--answer goes with a question"),
])  # fmt: skip
def test_what_is_no_answer_to_a_question_is_told(words, complaint, capsys):
    assert cli.main(["check", *words]) == 2
    assert complaint in capsys.readouterr().err
