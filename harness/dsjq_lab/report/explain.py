"""A violation explains itself: the life of one job, told by those who saw it, in a dozen lines.

The story is a causal slice: what clients asked about this job and what they heard, the faults that hit its
holders or the broker, and the moments at which a lease was over. The evidence is marked `<--`.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery, Job, Strike
from dsjq_lab.verdict import VIOLATED, Verdict

LINES_MAX = 12
PLACES_MAX = 6

WRONG = {  # what is wrong with the last piece of the evidence
    "no_lost_job": "and then it was gone",
    "no_unexpected_job": "nobody had submitted this job, or it was refused",
    "payload_intact": "not the payload that was submitted",
    "exclusive_lease": "must not be: the other still holds it",
    "done_is_final": "must not be: the job was already done",
    "everything_finishes": "the last that was heard of it",
}
STRUCK = {"kill": "killed", "term": "terminated", "pause": "paused", "restart": "stopped"}
HEALED = {"pause": "resumed"}  # the others: back


class Event(NamedTuple):
    time_ns: float
    who: str
    what: str
    ops: tuple[int, ...] = ()  # the operations that it tells of


def explain(verdict: Verdict, model: Model) -> Iterator[str]:
    """Nothing, where the verdict already says all there is to say."""
    if verdict.invariant == "everything_finishes":
        yield from unfinished(model)
    if verdict.status == VIOLATED and verdict.job is not None:
        yield f"What happened to job {verdict.job}{known_as(verdict.job, model)}"
        yield from timeline(verdict, model)


def known_as(nonce: str, model: Model) -> str:
    """The broker's own name for it, as it stands in the replies below."""
    job = model.jobs.get(nonce)
    ids = dict.fromkeys(delivery.id for delivery in job.deliveries) if job else {}
    return f" (the broker's {', '.join(ids)})" if ids else ""


# -- One job ----------------------------------------------------------------------------------------------


def timeline(verdict: Verdict, model: Model) -> Iterator[str]:
    events = sorted(Story(verdict.job or "", model).events(), key=lambda event: event.time_ns)
    proof = [index for index, event in enumerate(events) if set(event.ops) & set(verdict.ops)]
    before = -1
    for index in chosen(len(events), proof):
        if index > before + 1:
            yield f"       ...    {index - before - 1} more"
        before = index
        time_ns, who, what, _ = events[index]
        mark = "  <--" if index in proof else ""
        if proof[-1:] == [index]:
            mark += f" {WRONG[verdict.invariant]}"
        yield f"  {(time_ns - model.header.start_ns) / 1e9:7.3f} s  {who:<11} {what}{mark}"


def chosen(count: int, proof: list[int]) -> list[int]:
    """Which of so many events to show: the first, the last, the end of the proof, and what led up to it."""
    if count <= LINES_MAX:
        return list(range(count))
    end = proof[-1] if proof else count - 1
    kept = {0, count - 1, *proof[-2:]}
    before = (index for index in range(end, 0, -1) if index not in kept)
    return sorted(kept | {index for index, _ in zip(before, range(LINES_MAX - 3 - len(kept)), strict=False)})


class Story:
    """All that was seen of one job, and all that befell its holders, in no order yet."""

    def __init__(self, nonce: str, model: Model) -> None:
        self.nonce, self.model = nonce, model
        self.job = model.jobs.get(nonce) or Job(nonce, "")
        self.ops = {op.index: op for op in model.ops}

    def events(self) -> Iterator[Event]:
        for submit in self.job.submits:
            yield self.heard(submit, "SUBMIT")
        for delivery in (*self.job.deliveries, *(d for d in self.model.strays if d.nonce == self.nonce)):
            yield from self.held(delivery)
        own = {call for delivery in self.job.deliveries for call in delivery.settles}
        for ack in (ack for ack in self.job.acks if ack not in own):
            yield self.heard(ack, "ACK of a job that it was not given")
        since_ns = min((submit.invoked_ns for submit in self.job.submits), default=0)
        for strike in self.model.strikes:
            if strike.holding == self.nonce or (strike.victim == "broker" and strike.begin_ns >= since_ns):
                yield from faulted(strike)
        if end := self.model.end:
            yield Event(end.time_ns, "lab", f"the run ends, the job is {fate(self.job, self.model)}")

    def held(self, delivery: Delivery) -> Iterator[Event]:
        """From the delivery to its ACK or FAIL, or else to the latest end of the lease."""
        who, over_ns = delivery.call.process, delivery.returned_ns + self.model.header.ack_timeout_ns
        question = "REQUEST" if delivery.token is None else "RESERVE"
        attempt = "" if delivery.attempt is None else f"  attempt {delivery.attempt}"
        reply = f"{question} -> JOB {delivery.id}{attempt}"
        yield Event(delivery.returned_ns, who, reply, delivery.call.ops)
        for call in delivery.settles:
            yield self.heard(call, f"{call.f.upper()} {delivery.id}")
        given_up = any(call.outcome != "info" and call.invoked_ns < over_ns for call in delivery.settles)
        if not given_up and self.model.end and over_ns < self.model.end.time_ns:
            yield Event(over_ns, "clock", f"{who}'s lease is over by now")

    def heard(self, call: Call, question: str) -> Event:
        if call.returned_ns == math.inf:
            return Event(call.invoked_ns, call.process, f"{question} -> ?  killed before it heard", call.ops)
        reply = self.ops[call.ops[-1]]
        ok = f"JOB_ID {reply.value['id']}" if call.f == "submit" and call.outcome == "ok" else "OK"
        said = {"ok": ok, "fail": reply.error, "info": f"?  {reply.error}: it may have happened"}
        return Event(call.returned_ns, call.process, f"{question} -> {said[call.outcome]}", call.ops)


def faulted(strike: Strike) -> Iterator[Event]:
    exact = "  (exact)" if strike.exact else ""
    struck, healed = STRUCK.get(strike.verb, strike.verb), HEALED.get(strike.verb, "back")
    if strike.struck_ns is not None:
        yield Event(strike.struck_ns, "! fault", f"{strike.victim} {struck}{exact}")
    if strike.end_ns is not None:
        yield Event(strike.end_ns, "! fault", f"{strike.victim} {healed}")


def fate(job: Job, model: Model) -> str:
    if job.has_ack("ok"):
        return "done"
    if job.nonce in model.dead:
        return "dead"
    return "perhaps done: no reply to its ACK" if job.has_ack("info") else "neither done nor dead"


# -- All jobs ---------------------------------------------------------------------------------------------


def unfinished(model: Model) -> Iterator[str]:
    """How many jobs are not done, where they were last seen, and whether the broker still answers."""
    still_open = [job for job in model.jobs.values() if not job.has_ack("ok") and job.nonce not in model.dead]
    yield f"{len(still_open)} of {len(model.jobs)} jobs are not done. Where they were last seen:"
    for place, count in Counter(last_seen(job) for job in still_open).most_common(PLACES_MAX):
        yield f"  {count:>5}  {place}"
    replies = [op.time_ns for op in model.ops if op.type == "ok" or (op.type == "fail" and reached(op.error))]
    if not replies:
        yield "The broker never answered anybody."
        return
    last_ns = replies[-1]
    unheard = sum(op.time_ns > last_ns and op.error is not None for op in model.ops)
    since = f"; since then {unheard} requests got no answer" if unheard else ""
    yield f"The broker's last reply was at {(last_ns - model.header.start_ns) / 1e9:.3f} s{since}."


def last_seen(job: Job) -> str:
    if not job.deliveries:
        return "in the broker, delivered to nobody" if job.acknowledged else "on the way to the broker"
    last = job.deliveries[-1]
    if any(call.f == "fail" and call.outcome == "ok" for call in last.settles):
        return f"given back by {last.call.process} with FAIL"
    return f"with {last.call.process}"


def reached(error: str | None) -> bool:
    return not (error or "").startswith("UNREACHABLE")
