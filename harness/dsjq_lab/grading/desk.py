"""A student's desk: a folder with what an exercise gives out, and what is to be filled in.

All stages of one's own broker share a desk: each has its page in a folder of its own, the first also brings
a starter, and from then on the broker is the student's. Who looks for a bug has a desk for each patient; the
seed of the story there follows from the student's name, so that each writes about a trace of his own, and the
instructor can make the same one. Nothing that lies there already is written over.
"""

import hashlib
from pathlib import Path

from dsjq_lab.errors import UsageError
from dsjq_lab.grading import exercise, repair, submission
from dsjq_lab.library import did_you_mean

SEEDS = 1_000_000
HOW, EXPLANATION_FILE, LANGUAGE = "HOW.md", "explanation.md", "python"
COMMAND = (f"python3 {exercise.PATIENT} --port {{port}} --ack-timeout {{ack_timeout}}s "
           "--max-attempts {max_attempts} --data {data}\n")  # fmt: skip
STORY = """\
# yaml-language-server: $schema={schema}
scenario: 1
title: One job                  # what happens in it
story: Nothing happens yet.     # why that is a test of this broker
seed: {seed}                    # yours
load:
  jobs: 1
# workers:                      # dsjq-lab explain worker; the scenarios of the library show all that there is
#   count: 2
# faults:
#   - when: {{delivered: 1}}
#     kill: that worker
#     restart_after: 100ms
finish_within: 10s
focus: []                       # the promise that this broker breaks: dsjq-lab list invariants
"""
EXPLANATION = """\
# {title}

{student}, seed {seed}. Make your trace with `dsjq-lab run story.yaml --broker broker.py`, or, if it takes a
certain schedule, with `dsjq-lab explore story.yaml --broker broker.py --seed {seed}`. One line an answer is
enough. They are read by a person, and not by the grader.

1. Which promise is broken, for which job?

2. Which two events of your trace contradict each other? Give their times, and who saw them.

3. Which lines of `broker.py` did that, and what did they take for granted?

4. Why did nobody notice before? Which part of your story was needed?

5. What did you change, and why is the bug not only rarer now?
"""


def seed_of(name: str, student: str) -> int:
    """1 to SEEDS; without a student it is the exercise's own."""
    digest = hashlib.sha256(f"{name} {' '.join(student.casefold().split())}".encode()).digest()
    return 1 + int.from_bytes(digest[:8]) % SEEDS


def set_up(asked: exercise.Exercise, into: Path, student: str, language: str | None) -> list[Path]:
    """The files that were made, the page first. UsageError if one of them is there already."""
    if asked.has_patient:
        if language:
            raise UsageError("--language is for stages (build/…): this broker is written already")
        written = for_a_patient(asked, into, student)
    else:
        written = for_a_stage(asked, into, language)
    if there := [path for path in written if path.exists()]:
        raise UsageError(f"{there[0]} is there already, and nothing was changed: choose another folder")
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(written)


def for_a_patient(asked: exercise.Exercise, into: Path, student: str) -> dict[Path, str]:
    seed = seed_of(asked.name, student)
    words = {"title": asked.title, "student": student or "Your name", "seed": seed}
    schema = Path(exercise.__file__).parents[1] / "scenario.schema.json"
    return {
        into / exercise.PAGE: read(asked.folder / exercise.PAGE),
        into / exercise.PATIENT: read(asked.folder / exercise.PATIENT),
        into / repair.OWN: STORY.format(seed=seed, schema=schema),
        into / HOW: read(asked.folder.parent / exercise.PAGE),
        into / submission.FILE: COMMAND,
        into / EXPLANATION_FILE: EXPLANATION.format(**words),
    }


def for_a_stage(asked: exercise.Exercise, into: Path, language: str | None) -> dict[Path, str]:
    """A folder of the stage's name with its page and the files of its checks; before the first, a starter."""
    names = sorted(file.name for file in asked.folder.glob("*.*") if file.name != exercise.FILE)
    names.sort(key=lambda name: name != exercise.PAGE)
    written = {into / asked.folder.name / name: read(asked.folder / name) for name in names}
    starters = {folder.name: folder for folder in asked.folder.parents[1].glob("starters/*")}
    if (into / submission.FILE).exists():
        if language:
            raise UsageError(f"in {into} a broker was begun already: --language is for a new folder")
    elif starter := starters.get(language or LANGUAGE):
        written |= {into / file.name: read(file) for file in sorted(starter.glob("*.*"))}
    elif language:
        near = did_you_mean(language, starters) or f": {', '.join(sorted(starters)) or 'there is none'}"
        raise UsageError(f"no starter in {language}{near}")
    return written


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def own_broker(asked: exercise.Exercise) -> tuple[str | None, str | None]:
    """What is meant where no broker is named, in the folder at hand: its file, or its command."""
    if asked.has_patient:
        if not Path(exercise.PATIENT).is_file():
            raise UsageError(f"no {exercise.PATIENT} here: "
                             "go to the folder that `dsjq-lab start` made, or use --broker")  # fmt: skip
        return exercise.PATIENT, None
    if not Path(submission.FILE).is_file():
        raise UsageError(
            f"which broker? Go to the folder where your {submission.FILE} is (dsjq-lab start makes one); "
            "or --broker-cmd 'python3 mine.py --port {port}', or --broker FILE.py"
        )
    return None, submission.command_line(Path())
