"""The judge: every invariant is asked about the same model, and none can pass by failing to answer."""

from dsjq_lab.checkers.base import Checker
from dsjq_lab.checkers.done_is_final import DoneIsFinal
from dsjq_lab.checkers.everything_finishes import EverythingFinishes
from dsjq_lab.checkers.exclusive_lease import ExclusiveLease
from dsjq_lab.checkers.no_lost_job import NoLostJob
from dsjq_lab.checkers.no_unexpected_job import NoUnexpectedJob
from dsjq_lab.checkers.payload_intact import PayloadIntact
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict

CHECKERS: tuple[Checker, ...] = (
    NoLostJob(),
    NoUnexpectedJob(),
    PayloadIntact(),
    ExclusiveLease(),
    DoneIsFinal(),
    EverythingFinishes(),
)


def judge(model: Model) -> list[Verdict]:
    """The verdicts of all checkers, in their fixed order."""
    return [_ask(checker, model) for checker in CHECKERS]


def _ask(checker: Checker, model: Model) -> Verdict:
    try:
        return checker.check(model)
    except Exception as error:  # whatever went wrong in a checker, it is no pass
        return checker.unknown(f"the checker failed: {type(error).__name__}: {error}")
