"""Coursework: what an exercise asks, and what a submission has earned.

A check passes only if all of its runs hold: a checker never accuses falsely, so one violation is proof, and a
racy broker that is right in most runs is wrong. What cannot be decided is tried again on its own and slower,
and then left to a person: it is never a zero, and never full marks.

- What is asked: exercise.py reads `exercise.yaml`, conversation.py the talks with a broker that it names.
- What is found: judge.py plays one check; results.py is what came of all of them.
"""
