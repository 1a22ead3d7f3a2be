"""The life of a job is a path in a graph, and the broker's own trace must follow its edges.

The table here is the checker's own copy: were it the broker's, a wrong edge would excuse itself. A broker
that starts again may go on with jobs of its former life, whose state is then taken as it comes; a job that
nobody has heard of must begin with its submission.
"""

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict

TRANSITIONS: dict[str, tuple[str | None, str]] = {
    # record: (from, to)
    "Submitted": (None, "PENDING"),
    "Delayed": (None, "DELAYED"),
    "Matured": ("DELAYED", "PENDING"),
    "Delivered": ("PENDING", "IN_FLIGHT"),
    "Touched": ("IN_FLIGHT", "IN_FLIGHT"),
    "Acked": ("IN_FLIGHT", "DONE"),
    "Failed": ("IN_FLIGHT", "FAILED"),
    "Retried": ("FAILED", "PENDING"),
    "Requeued": ("IN_FLIGHT", "PENDING"),
    "Released": ("IN_FLIGHT", "PENDING"),
    "Died": ("IN_FLIGHT", "DEAD"),
    "Kicked": ("DEAD", "PENDING"),
}


class LegalTransitions(Checker):
    name = "legal_transitions"
    rule = "What the broker records of a job leads it only along the edges of its life."

    def check(self, model: Model) -> Verdict:
        if not model.trace:
            return self.not_applicable("this broker keeps no trace")
        findings: dict[str | int, Finding] = {}
        states: dict[str | int, str] = {}
        last: dict[str | int, Op] = {}
        former: set[str | int] = set()  # jobs of a former life, of which nothing was heard since
        records = [op for op in model.trace if op.f == "record"]
        for op in model.trace:
            if op.f == "start":
                former |= states.keys() | set(op.value.get("jobs", ()))  # it may die between record and trace
                states.clear()
                continue
            if "job" not in op.value:
                continue  # about no job: a queue was declared, or bound
            job, record = op.value["job"], op.value["record"]
            before, after = TRANSITIONS.get(record, (None, ""))
            if not after or (states.get(job) != before and job not in former):
                findings.setdefault(job, _illegal(job, record, states.get(job), last.get(job), op))
            former.discard(job)
            states[job], last[job] = after, op
        told = f"{some(len(records), 'record')} of {some(len(last), 'job')}"
        return self.judged(list(findings.values()), told)


def _illegal(job: str | int, record: str, state: str | None, last: Op | None, op: Op) -> Finding:
    ops = (last.index, op.index) if last else (op.index,)
    return Finding(f"the broker's job {job} was {state or 'unknown'} when it was {record}", None, ops)
