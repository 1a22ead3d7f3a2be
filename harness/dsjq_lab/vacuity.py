"""A run in which nothing went wrong proves nothing about what happens when something does.

So a clean verdict counts only if the run came to rest, every planned fault took effect and, where workers
were struck, at least one of them held a job: an idle worker's death tests nothing that this lab asks about.
"""

from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.seen import Strike


def unproven(model: Model, *, may_be_gone: bool = False, has_lost: bool = False) -> list[str]:
    """Why the run proves nothing; empty if it came to rest and its faults bit.

    Of a broker that keeps its jobs in memory and `has_lost` some, as was to be shown, no more is asked: it
    has no disk that could fail, and what waits for the end of a lost job waits for ever.
    """
    reasons = []
    if model.end is None:
        reasons.append("the history has no end: the lab was stopped in the middle")
    elif not model.end.drained and not (model.end.decided and may_be_gone):
        reasons.append(f"the run did not come to rest: {model.end.why}")
    if refusal := refused_all(model):
        reasons.append(f"none of {len(model.jobs)} jobs was taken in: {refusal}")
    if not has_lost and (missing := missed(model)):
        how_many = f"{len(missing)} of {len(planned(model))} planned faults did not take effect"
        why = missing[0].value.get("why")
        which = f"{missing[0].f} {missing[0].value['victim']}"
        reasons.append(f"{how_many}: {which}" + (f": {why}" if why else ""))
    at_workers = [strike for strike in struck(model) if strike.victim.startswith("worker")]
    if at_workers and not any(strike.holding for strike in at_workers):
        reasons.append(f"{len(at_workers)} faults struck workers, and none of these held a job")
    return reasons


def refused_all(model: Model) -> str:
    """What was said to the last of them; empty if any may have got in."""
    if any(submit.outcome != "fail" for job in model.jobs.values() for submit in job.submits):
        return ""
    refused = [op for op in model.ops if op.f == "submit" and op.type == "fail"]
    if not refused:
        return ""
    put = any(term in refused[-1].value for term in ("delay_s", "priority", "key"))
    how = " (asked by PUT, which is none of the four core commands)" if put else ""
    return f"{refused[-1].error}{how}"


def planned(model: Model) -> dict[int, Op]:
    """Each fault of the history, by the first that was heard of it."""
    first: dict[int, Op] = {}
    for op in model.ops:
        if op.process == "nemesis":
            first.setdefault(op.value["fault"], op)
    return first


def struck(model: Model) -> list[Strike]:
    return [strike for strike in model.strikes if strike.struck_ns is not None]


def missed(model: Model) -> list[Op]:
    bitten = {strike.fault for strike in struck(model)}
    return [op for fault, op in planned(model).items() if fault not in bitten]
