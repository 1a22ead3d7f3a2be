"""What a student wrote for a person to read: taken along in the results, and given no points by any machine.

Whether it is there, answers anything and is whole is told with it.
"""

from pathlib import Path

from dsjq_lab.grading.desk import EXPLANATION, EXPLANATION_FILE
from dsjq_lab.grading.results import Explanation
from dsjq_lab.grading.submission import beginning

BYTES_MAX = 32 << 10
QUESTIONS = frozenset(EXPLANATION.splitlines())


def handed_in(folder: Path) -> Explanation:
    """Never an error: that there is nothing to read is for a person to judge, too."""
    try:
        data = beginning(folder / EXPLANATION_FILE, BYTES_MAX + 1)
    except FileNotFoundError:
        return Explanation("", "missing")
    except OSError as error:
        return Explanation("", f"cannot be read: {error.strerror}")
    text = data[:BYTES_MAX].decode(errors="replace")
    if not is_answered(text):
        return Explanation("", "no question is answered")
    cut = f"more than {BYTES_MAX >> 10} KiB: this is the beginning" if len(data) > BYTES_MAX else ""
    return Explanation(text, cut)


def is_answered(text: str) -> bool:
    """Whether anything is in it but our form."""
    _, first, answers = text.partition("\n1. ")  # before that the form names its student
    rest = first.lstrip("\n") + answers if first else text
    return any(line.strip() and line.strip() not in QUESTIONS for line in rest.splitlines())
