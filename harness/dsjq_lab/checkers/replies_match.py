"""One question, one answer: every reply is of the kind that its question asks for, and none is left over.

A connection is a pipe in which only the order says which reply belongs to which question. One reply too many,
or one to the wrong question, and all that follow are read as the answers to something else.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict


class RepliesMatch(Checker):
    name = "replies_match"
    rule = "Every question gets exactly one reply, of the kind that it asks for."

    def check(self, model: Model) -> Verdict:
        findings = [_broken(op) for op in model.broken_replies]
        return self.judged(findings, "no reply was too many, or of another kind")


def _broken(op: Op) -> Finding:
    said = op.error or f"greeted with {op.value['greeting']!r}"
    return Finding(f"{op.process} asked {op.f.upper()}: {said}", op.value.get("job"), (op.index,))
