"""A violation explains itself: the life of one job, told by those who saw it, in a dozen lines.

The story is a causal slice: what clients asked about this job and what they heard, the faults that hit its
holders or the broker, and the moments at which a lease was over. The evidence is marked `<--`.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, NamedTuple

from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery, Job, Strike, nonce_of
from dsjq_lab.verdict import VIOLATED, Verdict

LINES_MAX = 12
PLACES_MAX = 6
TERMS = ("delay_s", "priority", "key")  # of a submission

WRONG = {  # what is wrong with the last piece of the evidence
    "no_lost_job": "and then it was gone",
    "no_unexpected_job": "nobody had submitted this job, or it was refused",
    "payload_intact": "not the payload that was submitted",
    "exclusive_lease": "must not be: the other still holds it",
    "done_is_final": "must not be: the job was already done",
    "no_stale_ack": "must not be: the job had become another's",
    "late_ack_refused": "must not be: the lease was over",
    "effect_once": "the second time",
    "redelivered_in_time": "must not be: the job was waiting",
    "attempts_increase": "not larger, or used before",
    "dead_letter_at_limit": "not at the limit of its attempts",
    "fifo": "after one that was submitted later",
    "requeue_keeps_position": "after one that was submitted later",
    "urgent_first": "so many less urgent were delivered meanwhile",
    "no_starvation": "so many were delivered meanwhile",
    "not_early": "must not be: its delay was not over",
    "deduplicated": "must not be: this key had a job",
    "no_success_after_fsync_error": "must not be: it is not safe on the disk",
    "everything_finishes": "the last that was heard of it",
    "counts_conserved": "does not add up",
    "legal_transitions": "no such step in the life of a job",
    "no_leak": "not given back",
    "replies_match": "not what was asked for",
    "strangers_refused": "must not be: not a refusal",
    "routed_right": "not what the bindings say",
}
STRUCK = {
    "kill": "killed", "term": "terminated", "pause": "paused", "restart": "stopped",
    "hang": "handler stuck", "throttle": "slowed down", "kill_on": "killed by its disk",
    "power_loss": "without power", "fsync_error": "an fsync fails", "slow_fsync": "on a slow disk",
    "torn_tail": "killed, its last record torn", "bit_flip": "killed, a bit of its file flipped",
    "disk_full": "on a full disk",
    "clock_step": "given another time of day",
    "fd_limit": "out of descriptors", "file_limit": "may write no longer file",
    "memory_limit": "killed: out of memory",
    "partition": "cut off", "half_open": "gone, unknown to the broker", "latency": "on a slow line",
    "bandwidth": "on a thin line", "slice": "heard in pieces", "coalesce": "heard in clumps",
    "corrupt": "on a line that flips bits", "reset": "loses its connection: reset",
    "cut": "loses its connection amid a line", "lose_reply": "does not get its answer",
    "slow_reader": "has a guest who does not read", "storm": "has guests who come and go",
}  # fmt: skip
HEALED = {
    "pause": "resumed", "hang": "goes on", "throttle": "at full speed", "slow_fsync": "at full speed",
    "disk_full": "has room again", "fd_limit": "has descriptors again",
    "file_limit": "may write long files again",
}  # fmt: skip  # the others: back


class Event(NamedTuple):
    time_ns: float
    who: str
    what: str
    ops: Collection[int] = ()  # the operations that it tells of


def explain(verdict: Verdict, model: Model, lines_max: int | None = None) -> Iterator[str]:
    """Nothing, where the verdict already says all there is to say. `lines_max` is kept if it can be."""
    about_all = list(unfinished(model)) if verdict.invariant == "everything_finishes" else []
    yield from about_all
    if verdict.status == VIOLATED:
        room = LINES_MAX if lines_max is None else lines_max - len(about_all) - 1
        seen = list(timeline(verdict, model, room))
        if verdict.job is not None:
            yield f"What happened to job {known_as(verdict.job, model)}"
        elif seen:
            yield "What was seen"
        yield from seen


def known_as(nonce: str, model: Model) -> str:
    """With the broker's own name for it, as it stands in the replies below."""
    job = model.jobs.get(nonce)
    ids = dict.fromkeys(delivery.id for delivery in job.deliveries) if job else {}
    return f"{nonce} (the broker's {', '.join(ids)})" if ids else nonce


# -- One job ----------------------------------------------------------------------------------------------


def timeline(verdict: Verdict, model: Model, lines_max: int) -> Iterator[str]:
    story = Story(model)
    events = list(story.of(verdict.job)) if verdict.job is not None else []
    told = {op for event in events for op in event.ops}
    others = [story.ops[op] for op in verdict.ops if op not in told and story.ops[op].process != "nemesis"]
    events += [noted(op) for op in others if op.type != "invoke"]
    events.sort(key=lambda event: event.time_ns)
    proof = [index for index, event in enumerate(events) if set(event.ops) & set(verdict.ops)]
    before = -1
    for index in chosen(len(events), proof, lines_max):
        if index > before + 1:
            yield f"       ...    {index - before - 1} more"
        before = index
        time_ns, who, what, _ = events[index]
        mark = "  <--" if index in proof else ""
        if proof[-1:] == [index]:
            mark += f" {WRONG[verdict.invariant]}"
        yield f"  {(time_ns - model.header.start_ns) / 1e9:7.3f} s  {who:<11} {what}{mark}"


def chosen(count: int, proof: list[int], lines_max: int) -> list[int]:
    """Which of so many events to show: the first, the last, the end of the proof, and what led up to it."""
    if count <= max(1, lines_max):
        return list(range(count))
    end = proof[-1] if proof else count - 1
    kept = {0, count - 1, *proof[-4:]}
    if 2 * len(kept) - 1 > lines_max and proof:
        kept.remove(max(kept - set(proof), default=0))  # the end, unless it is the proof
    gaps = len(kept) - 1  # each costs a line, too
    before = (index for index in range(end, 0, -1) if index not in kept)
    return sorted(kept | set(islice(before, max(0, lines_max - len(kept) - gaps))))


class Story:
    """All that was seen of one job, and all that befell its holders, in no order yet."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.ops = {op.index: op for op in model.ops}

    def of(self, nonce: str) -> Iterator[Event]:
        model = self.model
        job = model.jobs.get(nonce) or Job(nonce, "")
        for submit in job.submits:
            yield self.heard(submit, submission(self.ops[submit.ops[0]].value))
        deliveries = [*job.deliveries, *(stray for stray in model.strays if stray.nonce == nonce)]
        for delivery in deliveries:
            yield from self.held(delivery)
        own = {call for delivery in deliveries for call in delivery.settles}
        for ack in (ack for ack in job.acks if ack not in own):
            yield self.heard(ack, "ACK of a job that it was not given")
        for effect in model.effects:
            if effect.value["job"] == nonce:
                yield noted(effect)
        for kicked, kick in model.kicks:
            if kicked == nonce:
                yield self.heard(kick, "KICK")
        if nonce in model.dead:
            listing = next(each for each in model.listings if nonce in (listed for _, listed in each.jobs))
            yield Event(listing.call.returned_ns, "auditor", "the job is listed as dead", listing.call.ops)
        since_ns = min((submit.invoked_ns for submit in job.submits), default=0)
        for strike in model.strikes:
            if strike.holding == nonce or (strike.victim == "broker" and strike.begin_ns >= since_ns):
                yield from faulted(strike)
        if end := model.end:
            yield Event(end.time_ns, "lab", f"the run ends, the job is {fate(job, model)}")

    def held(self, delivery: Delivery) -> Iterator[Event]:
        """From the delivery to its ACK or FAIL, or else to the latest end of the lease."""
        who, renewed_ns = delivery.call.process, float(delivery.returned_ns)
        question = "REQUEST" if delivery.token is None else "RESERVE"
        attempt = "" if delivery.attempt is None else f"  attempt {delivery.attempt}"
        reply = f"{question} -> JOB {delivery.id}{attempt}"
        yield Event(delivery.returned_ns, who, reply, delivery.call.ops)
        for call in delivery.settles:
            yield self.heard(call, f"{call.f.upper()} {delivery.id}")
            if call.f == "touch" and call.outcome == "ok":
                renewed_ns = call.returned_ns
        over_ns = renewed_ns + self.model.header.ack_timeout_ns
        words = (call for call in delivery.settles if call.f != "touch" and call.outcome != "info")
        given_up = any(call.invoked_ns < over_ns for call in words)
        if not given_up and self.model.end and over_ns < self.model.end.time_ns:
            yield Event(over_ns, "clock", f"{who}'s lease is over by now")

    def heard(self, call: Call, question: str) -> Event:
        if call.returned_ns == math.inf:
            return Event(call.invoked_ns, call.process, f"{question} -> ?  killed before it heard", call.ops)
        reply = self.ops[call.ops[-1]]
        ok = f"JOB_ID {reply.value['id']}" if call.f == "submit" and call.outcome == "ok" else "OK"
        said = {"ok": ok, "fail": reply.error, "info": f"?  {reply.error}: it may have happened"}
        return Event(call.returned_ns, call.process, f"{question} -> {said[call.outcome]}", call.ops)


def submission(value: dict[str, Any]) -> str:
    """How it was asked: with terms of its own, or without."""
    terms = "".join(f" {name.removesuffix('_s')}={value[name]}" for name in TERMS if name in value)
    return f"PUT{terms}" if terms else "SUBMIT"


def noted(op: Op) -> Event:
    """What is no part of a job's story, and proves something in it."""
    return Event(op.time_ns, op.process, said(op), (op.index,))


def said(op: Op) -> str:
    value = op.value
    match op.f, op.type:
        case "effect", _:
            return f"effect of {value['worker']} {'written' if op.type == 'ok' else 'turned away'}"
        case "record", _:
            return f"{value['record']} job {value['job']}"
        case "resources", _:
            return f"the broker has {value['threads']} threads, {value['descriptors']} descriptors"
        case "connect", "ok":
            return f"HELLO -> {value['greeting']}"
        case "submit", "ok":
            return f"SUBMIT -> JOB_ID {value['id']}, which is job {nonce_of(value['payload'])}"
        case "reserve", "ok" if "id" in value:
            return f"REQUEST -> JOB {value['id']}, which is job {nonce_of(value['payload'])}"
        case "reserve", "ok":
            return "REQUEST -> EMPTY"
        case "stats", "ok":
            return f"STATS -> {', '.join(f'{n} {what}' for what, n in value.items() if what != 'conn' and n)}"
        case "dead", "ok":
            return f"JOBS state=DEAD -> {len(value['dead'])} jobs"
        case "intrude", _:
            return f"{value['question']} {value['standing']} -> {value.get('reply', op.error)}"
        case "publish", "ok":
            return f"{value['question']} -> {' '.join(['JOB_IDS', *value['ids']]) if value['ids'] else 'OK'}"
        case "take", "ok":
            return f"{value['question']} -> {'EMPTY' if value.get('empty') else 'JOB ' + value['id']}"
    return f"{op.f.upper()} -> {op.error or 'OK'}"


def faulted(strike: Strike) -> Iterator[Event]:
    exact = "  (exact)" if strike.exact else ""
    struck, healed = STRUCK.get(strike.verb, strike.verb), HEALED.get(strike.verb, "back")
    if strike.struck_ns is not None:
        yield Event(strike.struck_ns, "! fault", f"{strike.victim} {struck}{exact}")
    if strike.end_ns is not None:
        yield Event(strike.end_ns, "! fault", f"{strike.victim} {healed}")


def fate(job: Job, model: Model) -> str:
    if job.is_done:
        return "done"
    if job.nonce in model.dead:
        return "dead"
    return "perhaps done: no reply to its ACK" if job.finished_ns < math.inf else "neither done nor dead"


# -- All jobs ---------------------------------------------------------------------------------------------


def unfinished(model: Model) -> Iterator[str]:
    """How many jobs are not done, where they were last seen, and whether the broker still answers."""
    still_open = [job for job in model.jobs.values() if not job.is_done and job.nonce not in model.dead]
    if still_open:
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
    given_back = [call.f for call in last.settles if call.f in ("fail", "release") and call.outcome == "ok"]
    if given_back:
        return f"given back by {last.call.process} with {given_back[-1].upper()}"
    return f"with {last.call.process}"


def reached(error: str | None) -> bool:
    return not (error or "").startswith("UNREACHABLE")
