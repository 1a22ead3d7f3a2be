"""Predict, then run: the handbook's questions whose answer can be checked.

A question and its choices stand in LAB.md alone, where its name, `lab3/q2`, makes it checkable. What is
right, why, and a hint are in exercises/questions.yaml, where they lie open:
whoever looks deceives nobody else.
"""

import argparse
import json
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from dsjq_lab import handbook, yaml12
from dsjq_lab.errors import UsageError
from dsjq_lab.grading import exercise, progress
from dsjq_lab.library import did_you_mean
from dsjq_lab.report.plain import visible
from dsjq_lab.scenario_values import Strict

ANSWERS = "exercises/questions.yaml"
LAB = re.compile(r"^### Lab (\d+): (.+)\n((?:(?!##).*\n)+)", re.MULTILINE)
ITEM = re.compile(r"^(\d+)\. (.+(?:\n {3}.+)*)", re.MULTILINE)
CHOICE = re.compile(r"^ *- \*\*([A-Z])\*\* ", re.MULTILINE)
WIDTH = 96


class Answer(Strict):
    """Of one question."""

    answer: str | int | list[str | int]  # a letter, a word or a number; or each of several that are right
    why: str
    hint: str

    def accepts(self, said: str) -> bool:
        right = self.answer if isinstance(self.answer, list) else [self.answer]
        return plain(said) in [plain(str(each)) for each in right]


class Question(NamedTuple):
    name: str  # "lab3/q2"
    text: str
    answer: Answer

    @property
    def choices(self) -> list[str]:
        return CHOICE.findall(self.text)


class Lab(NamedTuple):
    name: str  # "lab3"
    title: str
    questions: dict[str, Question]


def labs() -> dict[str, Lab]:
    answers = TypeAdapter(dict[str, dict[str, Answer]]).validate_python(
        yaml12.read(handbook.document(ANSWERS).encode()).data
    )
    found = {}
    for number, title, page in LAB.findall(handbook.document("LAB.md")):
        lab = f"lab{number}"
        asked = {f"{lab}/q{item}": text for item, text in ITEM.findall(page) if f"`{lab}/q{item}`" in text}
        found[lab] = Lab(lab, title, {
            name: Question(name, text.replace(f" `{name}`", ""), answers[lab][name.partition("/")[2]])
            for name, text in asked.items()
        })  # fmt: skip
    return found


def are_meant(name: str) -> bool:
    """By `lab3` and `lab3/q2`, unless a folder of that name is an exercise."""
    return re.match(r"lab\d", name) is not None and not (Path(name) / exercise.FILE).is_file()


def check(args: argparse.Namespace) -> int:
    """An answer is right (0) or not (1). Without one the question is read out, or all of a lab."""
    known = labs()
    lab = known.get(args.exercise.partition("/")[0])
    if lab is not None and args.exercise == lab.name and args.answer is None:
        return tell_lab(lab, args.json)
    question = lab and lab.questions.get(args.exercise)
    if question is None:
        names = [name for each in known.values() for name in (each.name, *each.questions)]
        raise UsageError(f"no such question: {args.exercise}{did_you_mean(args.exercise, names)}")
    if args.answer is None:
        return tell(question, args.json)
    said, choices = args.answer, question.choices
    if choices and said.strip().upper() not in choices:
        raise UsageError(f"{question.name} is answered by a letter: {', '.join(choices)}")
    right = question.answer.accepts(said)
    if right:
        progress.note(question.name, True, "answered")
    remark = question.answer.why if right else question.answer.hint
    if args.json:
        print(json.dumps({"question": question.name, "right": right, "remark": remark}))
    else:
        print("RIGHT" if right else "NOT YET", *wrapped(remark), sep="\n  ")
    return 0 if right else 1


def tell(question: Question, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"question": question.name, "text": question.text, "choices": question.choices}))
    else:
        kind = question.choices[0] if question.choices else "…"
        print(question.name, *wrapped(question.text), sep="\n  ")
        print(f"\nNext   dsjq-lab check {question.name} --answer {kind}")
    return 0


def tell_lab(lab: Lab, as_json: bool) -> int:
    done = progress.known()
    if as_json:
        print(json.dumps({name: {"answered": name in done} for name in lab.questions}))
        return 0
    print(f"{lab.name}, {lab.title}: {standing(lab)}")
    for name, question in lab.questions.items():
        print(f"\n{name}   {'answered' if name in done else 'open'}", *wrapped(question.text), sep="\n  ")
    return 0


def standing(lab: Lab) -> str:
    done = progress.known()
    return f"{sum(name in done for name in lab.questions)} of {len(lab.questions)} questions answered"


def wrapped(text: str) -> list[str]:
    """Without the marks of a page: a paragraph, and below it each choice by itself."""
    parts = re.split(r"\n *- ", text.replace("**", ""))
    return [line for part in parts for line in textwrap.wrap(visible(" ".join(part.split())), WIDTH)]


def plain(answer: str) -> str:
    """As it counts: `700 MS` is 700ms."""
    return re.sub(r"[\s`'\"]", "", answer).casefold()
