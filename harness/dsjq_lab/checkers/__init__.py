"""The judge: every invariant is asked about the same model, and none can pass by failing to answer."""

from dsjq_lab.checkers.attempts_increase import AttemptsIncrease
from dsjq_lab.checkers.base import Checker
from dsjq_lab.checkers.counts_conserved import CountsConserved
from dsjq_lab.checkers.dead_letter_at_limit import DeadLetterAtLimit
from dsjq_lab.checkers.deduplicated import Deduplicated
from dsjq_lab.checkers.done_is_final import DoneIsFinal
from dsjq_lab.checkers.effect_once import EffectOnce
from dsjq_lab.checkers.everything_finishes import EverythingFinishes
from dsjq_lab.checkers.exclusive_lease import ExclusiveLease
from dsjq_lab.checkers.fifo import Fifo
from dsjq_lab.checkers.late_ack_refused import LateAckRefused
from dsjq_lab.checkers.legal_transitions import LegalTransitions
from dsjq_lab.checkers.no_leak import NoLeak
from dsjq_lab.checkers.no_lost_job import NoLostJob
from dsjq_lab.checkers.no_stale_ack import NoStaleAck
from dsjq_lab.checkers.no_starvation import NoStarvation
from dsjq_lab.checkers.no_success_after_fsync_error import NoSuccessAfterFsyncError
from dsjq_lab.checkers.no_unexpected_job import NoUnexpectedJob
from dsjq_lab.checkers.not_early import NotEarly
from dsjq_lab.checkers.payload_intact import PayloadIntact
from dsjq_lab.checkers.redelivered_in_time import RedeliveredInTime
from dsjq_lab.checkers.replies_match import RepliesMatch
from dsjq_lab.checkers.requeue_keeps_position import RequeueKeepsPosition
from dsjq_lab.checkers.routed_right import RoutedRight
from dsjq_lab.checkers.strangers_refused import StrangersRefused
from dsjq_lab.checkers.urgent_first import UrgentFirst
from dsjq_lab.history import no_garbage
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict

CHECKERS: tuple[Checker, ...] = (
    NoLostJob(),
    NoUnexpectedJob(),
    PayloadIntact(),
    ExclusiveLease(),
    DoneIsFinal(),
    NoStaleAck(),
    LateAckRefused(),
    EffectOnce(),
    RedeliveredInTime(),
    AttemptsIncrease(),
    DeadLetterAtLimit(),
    Fifo(),
    RequeueKeepsPosition(),
    UrgentFirst(),
    NoStarvation(),
    NotEarly(),
    Deduplicated(),
    NoSuccessAfterFsyncError(),
    EverythingFinishes(),
    CountsConserved(),
    LegalTransitions(),
    NoLeak(),
    RepliesMatch(),
    StrangersRefused(),
    RoutedRight(),
)


def judge(model: Model) -> list[Verdict]:
    """The verdicts of all checkers, in their fixed order."""
    with no_garbage():
        return [_ask(checker, model) for checker in CHECKERS]


def _ask(checker: Checker, model: Model) -> Verdict:
    if why := model.header.not_asked.get(checker.name):
        return checker.not_applicable(why)
    try:
        return checker.check(model)
    except Exception as error:  # whatever went wrong in a checker, it is no pass
        return checker.unknown(f"the checker failed: {type(error).__name__}: {error}")
