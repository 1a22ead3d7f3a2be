"""Strangers stay outside: what may not be asked is refused before it is looked at.

A stranger's question is carried out if it is answered with anything but an ERROR. An ERROR that speaks of
jobs (NO_SUCH_JOB, STALE) was refused too late: the broker has looked, and told what it saw. Which other code
it chose is its own affair, and so is a connection that it ends: nobody is owed an answer here.
"""

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict

TELLING = ("ERROR NO_SUCH_JOB", "ERROR STALE")


class StrangersRefused(Checker):
    name = "strangers_refused"
    rule = "Who has not said who he is, or is somebody whose role is another, is refused whatever he asks."

    def check(self, model: Model) -> Verdict:
        if not model.intrusions:
            return self.not_applicable("no stranger came")
        answered = [op for op in model.intrusions if op.type != "info"]
        if not answered:
            return self.unknown(f"no answer was heard to any of {some(len(model.intrusions), 'question')}")
        findings = [_let_in(op) for op in answered if op.type == "ok" or _told(op).startswith(TELLING)]
        return self.judged(findings, f"{some(len(answered), 'question')} of strangers refused")


def _told(op: Op) -> str:
    return op.error or str(op.value["reply"])


def _let_in(op: Op) -> Finding:
    asked = f"{op.process}, {op.value['standing']}, asked {op.value['question']}"
    return Finding(f"{asked}: {_told(op)}", None, (op.index,))
