"""A lease protects the queue, not the world: what a worker does outside may be done twice.

Under at-least-once delivery this rule *is* broken, sooner or later, by a correct broker: a worker dies
between its effect and its ACK, or hangs before its effect and wakes up when the job is another's. Two cures
exist, and both lie outside the broker: an effect that is idempotent, or a ledger that checks the token and
turns away whoever has lost the job. The second is no help if the effect was written before its worker died.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict


class EffectOnce(Checker):
    name = "effect_once"
    rule = "The ledger holds at most one effect of each job."

    def check(self, model: Model) -> Verdict:
        if not model.effects:
            return self.not_applicable("the work of this scenario has no effects")
        if not model.has_tokens and any(op.value["kind"] == "fenced" for op in model.effects):
            return self.not_applicable("a fenced ledger needs tokens, which this broker does not give")
        first: dict[tuple[str, str | None], Op] = {}
        findings: dict[str, Finding] = {}
        for effect in model.effects:
            if effect.type == "ok":
                before = first.setdefault(_copy(effect, model), effect)
                if before is not effect:
                    findings.setdefault(effect.value["job"], _twice(before, effect))
        turned_away = sum(effect.type == "fail" for effect in model.effects)
        return self.judged(list(findings.values()), f"{len(first)} written once, {turned_away} turned away")


def _copy(effect: Op, model: Model) -> tuple[str, str | None]:
    """Its job; a SUBMIT that was tried again may have made two of it, which may have an effect each."""
    job = model.jobs.get(effect.value["job"])
    return effect.value["job"], effect.value["id"] if job and not job.is_single else None


def _twice(before: Op, effect: Op) -> Finding:
    one, other, job = before.value["worker"], effect.value["worker"], effect.value["job"]
    whom = f"once by {one}, once by {other}" if one != other else f"both times by {one}"
    return Finding(f"job {job} had its effect twice: {whom}", job, (before.index, effect.index))
