"""A student's desk: a folder with what an exercise gives out, and what is to be filled in.

The seed of a student's story follows from the name, so that each writes about a trace of his own, and the
instructor can make the same one. Nothing that lies there already is written over.
"""

import hashlib
from pathlib import Path

from dsjq_lab.errors import UsageError
from dsjq_lab.grading import exercise, repair, submission

SEEDS = 1_000_000
HOW = "HOW.md"
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


def set_up(asked: exercise.Exercise, into: Path, student: str) -> list[Path]:
    """The files that were made. UsageError if one of them is there already."""
    seed = seed_of(asked.name, student)
    sources = {name: asked.folder / name for name in (exercise.PAGE, exercise.PATIENT)}
    written = {into / name: source.read_text(encoding="utf-8")
               for name, source in sources.items() if source.is_file()}  # fmt: skip
    if any(part.check.patient for part in asked.checks):
        words = {"title": asked.title, "student": student or "Your name", "seed": seed}
        schema = Path(exercise.__file__).parents[1] / "scenario.schema.json"
        written[into / repair.OWN] = STORY.format(seed=seed, schema=schema)
        written[into / HOW] = (asked.folder.parent / exercise.PAGE).read_text(encoding="utf-8")
        written[into / submission.FILE] = COMMAND
        written[into / "explanation.md"] = EXPLANATION.format(**words)
    if there := [path for path in written if path.exists()]:
        raise UsageError(f"{there[0]} is there already, and nothing was changed: choose another folder")
    into.mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return list(written)
