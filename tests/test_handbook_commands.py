"""What the handbook says to type can be typed: each command parses, and what it names is there."""

import re
import shlex
from pathlib import Path

import pytest

from dsjq_lab import brokers, cli, handbook, library, scenario_words
from dsjq_lab.grading import exercise, questions

ROOT = Path(__file__).parent.parent
PAGES = ["LAB.md", "README.md", "docs/coursework.md", "exercises/README.md", "exercises/repair/README.md"]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(dsjq-lab [^`]+)`")
LATER = {"FILE", "RUN", "two_steps.py", "story.yaml", "broker.py"}  # the reader's own
WORDS = {word.path for word in scenario_words.words()}
LAB = re.compile(r"^### Lab (\d+): .+\n((?:(?!##).*\n)+)", re.MULTILINE)


def commands(page):
    """Those of the lab, but for a verb alone, words left out (…) and a choice (a|b)."""
    text = (ROOT / page).read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    said = [" ".join(command.split()) for command in INLINE.findall(text)]
    return [command.partition(" > ")[0] for line in lines + said for command in line.split(" && ")
            if re.match(r"dsjq-lab \w+ \S", command) and not re.search("[…|]", command)]  # fmt: skip


ALL = [(page, command) for page in PAGES for command in commands(page)]


def test_there_are_many():
    assert len(ALL) > 60


@pytest.mark.parametrize(("page", "command"), ALL)
def test_a_command_parses_and_what_it_names_is_there(page, command):
    words = shlex.split(command, comments=True)[1:]
    args = cli.parser().parse_args(words)
    if args.command in ("run", "explore") and args.what not in LATER:
        assert library.find("scenarios", args.what)
    if (broker := getattr(args, "broker", None)) and broker not in LATER:
        brokers.under_study(broker, None)
    if args.command == "explain" and args.name and args.name.islower():
        assert handbook.explained(args.name)
    if args.command in ("start", "grade", "bundle", "check") and not questions.are_meant(args.exercise):
        assert exercise.find(args.exercise)
    for change in getattr(args, "set", []):
        assert change.partition("=")[0] in WORDS


def test_what_is_named_in_passing_is_there_too():
    page = (ROOT / "LAB.md").read_text()
    assert set(re.findall(r"`(?:--broker )?zoo/(p\d+)`", page)) <= set(library.contents("zoo"))
    for change in re.findall(r"--set ([a-z_.]+)=", page):
        assert change in WORDS
    table = page.partition("## The syllabus")[2].partition("### Lab 1")[0]
    for row in re.findall(r"^\| \d+\. .+?\|.+?\| (.+?) \|", table, re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", row):
            assert library.find("scenarios", name)
    beliefs = page.partition("## What people believe")[2].partition("## Words")[0]
    for refutation in re.findall(r"^\| .+? \| (.+?) \|$", beliefs, re.MULTILINE)[2:]:
        assert [name for name in re.findall(r"`([a-z_]+)`", refutation) if library.find("scenarios", name)]


@pytest.mark.parametrize(("number", "text"), LAB.findall((ROOT / "LAB.md").read_text()))
def test_each_lab_has_what_a_lab_needs(number, text):
    text = " ".join(text.split())
    for part in ("*Goal*: ", "*Time*: ", "*You need*: ", "> **Predict.** ", "*If stuck*: "):
        assert part in text, f"lab {number} lacks {part}"
    assert len(questions.labs()[f"lab{number}"].questions) >= 3


def test_the_syllabus_names_each_lab():
    page = (ROOT / "LAB.md").read_text()
    rows = re.findall(r"^\| (\d+)\. ", page, re.MULTILINE)
    assert rows == [number for number, _ in LAB.findall(page)]
