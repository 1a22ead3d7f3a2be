"""Where parts of a scenario that are each well formed do not fit together.

Parts that are not well formed are left out: their own mistakes are reported elsewhere, and once.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dsjq_lab.scenario_faults import EVENTS, Deed, Fault, Timed, When
from dsjq_lab.scenario_format import BrokerOptions, Load, Workers
from dsjq_lab.scenario_values import THAT_JOB, PositiveDuration
from dsjq_lab.scenario_verbs import AnyDeed
from dsjq_lab.yaml12 import Document, Mistake

TRIGGERS = ("at", "every", "when", "after")
Complaint = tuple[str, str]  # the key that it is about, the message


def quarrels(document: Document) -> Iterator[Mistake]:
    data = document.data if isinstance(document.data, dict) else {}
    load, workers = sound(Load, data.get("load")), sound(Workers, data.get("workers", {}))
    counts = {"producer": load and load.producers, "worker": workers and workers.count}
    finish_s = sound(PositiveDuration, data.get("finish_within", "20s"))
    broker = sound(BrokerOptions, data.get("broker", {}))
    if data.get("strangers") and broker and not broker.users:
        yield Mistake(*document.keys["strangers",], "value", "nobody is a stranger where nobody is asked for "
                      "a name: it needs 'broker: {users: true}'")  # fmt: skip
    for word, message in worker_quarrels(workers):
        yield Mistake(*document.keys["workers", word], "value", message)
    entries = data.get("faults")
    entries = entries if isinstance(entries, list) else []
    deeds = [sound(AnyDeed, entry) for entry in entries]
    for i, (entry, deed) in enumerate(zip(entries, deeds, strict=True)):
        if deed:
            for word, message in (
                *trigger_quarrels(deed, list(entry)),
                *victim_quarrels(deed, counts),
                *event_quarrels(deed, workers),
                *end_quarrels(deed, list(entry), finish_s),
                *chain_quarrels(deed, deeds, i),
                *listener_quarrels(deed, broker),
            ):
                yield Mistake(*document.keys["faults", i, word], "value", message)


def sound(kind: Any, data: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError:
        return None


def worker_quarrels(workers: Workers | None) -> Iterator[Complaint]:
    if workers and workers.fail_rate + workers.release_rate > 1:
        yield "release_rate", "'fail_rate' and 'release_rate' are at most 1 together"
    if workers and workers.max_runtime_s is not None and not workers.renew:
        yield "max_runtime", "'max_runtime' ends the renewals of a lease: it needs 'renew: true'"


def listener_quarrels(deed: Deed, broker: BrokerOptions | None) -> Iterator[Complaint]:
    if broker and broker.tls and deed.listens:
        yield deed.verb, f"a {deed.verb} needs to hear what is said, and TLS keeps that from it"


def trigger_quarrels(deed: Deed, words: list[str]) -> Iterator[Complaint]:
    given = [word for word in words if word in TRIGGERS]
    bounds = [word for word in words if word == "from" or (word == "until" and deed.until_s is not None)]
    if len(given) != 1:
        place = given[1] if given else deed.verb
        yield place, "a fault has exactly one trigger: at, every … until, when, or after"
    elif given != ["every"] and bounds:
        yield bounds[0], f"'{bounds[0]}' belongs to every, not to {given[0]}"
    elif given == ["every"] and "until" not in words:
        yield "every", "'every' needs 'until'"
    elif given == ["every"] and deed.until_s is None:
        yield "until", "beside 'every', 'until' is the time of the last strike"
    elif isinstance(trigger := deed.trigger, Timed) and not trigger.at_s:
        yield "until", "this is before the first strike"


def victim_quarrels(deed: Deed, counts: dict[str, int | None]) -> Iterator[Complaint]:
    text, role, which = deed.victim
    count = counts.get(role)
    if isinstance(which, int) and count is not None and which > count:
        yield deed.verb, f"there is no {text}: the scenario has {count}"
    if which == "that" and not deed.when:
        yield deed.verb, f"'{text}' is the one whose event it was: it needs a 'when'"
    for event in deed.when:
        if which == "that" and EVENTS[event][0] != role:
            yield deed.verb, f"'{event}' is the event of a {EVENTS[event][0]}, not of a {role}"


def event_quarrels(deed: Deed, workers: Workers | None) -> Iterator[Complaint]:
    ending = deed.until if isinstance(deed.until, dict) else {}
    for word, events in (("when", deed.when), ("until", ending)):
        if "before_effect" in events and workers and workers.effect is None:
            yield word, "'before_effect' needs workers with an 'effect'"
    if THAT_JOB in ending.values():
        if not deed.when:
            yield "until", f"'{THAT_JOB}' is the job whose event it was: it needs a 'when'"
        elif "broker_ready" in (*deed.when, *ending):
            yield "until", f"'broker_ready' is about no job, so there is no '{THAT_JOB}'"


def end_quarrels(deed: Deed, words: list[str], finish_s: float | None) -> Iterator[Complaint]:
    if not isinstance(deed, Fault):
        if isinstance(deed.until, dict):
            yield "until", f"a {deed.verb} is over at once: it has no end"
        return
    if isinstance(deed.end, When) and deed.end_word in words:
        yield "until", f"a {deed.verb} has one end: '{deed.end_word}' or 'until', not both"
    if deed.end is None and not deed.may_last:
        yield deed.verb, f"a {deed.verb} needs an end: '{deed.end_word}', or 'until' an event"
    end_s = (deed.until_s or deed.at_s or 0) + (deed.lasts_s or 0)
    if finish_s is not None and end_s > finish_s:
        yield deed.verb, f"this lasts until {end_s:g} s, and finish_within is {finish_s:g} s"


def chain_quarrels(deed: Deed, deeds: list[Deed | None], place: int) -> Iterator[Complaint]:
    """`id` names one fault, and `after` leads from fault to fault, never in a circle."""
    if deed.id and any(other and other.id == deed.id for other in deeds[:place]):
        yield "id", f"another fault is called '{deed.id}' already"
    by_id = {other.id: other for other in deeds if other and other.id}
    if deed.after and deed.after not in by_id:
        near = get_close_matches(deed.after, [name for name in by_id if name], 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        if None not in deeds:  # else it may be the one that is not well formed
            yield "after", f"no fault is called '{deed.after}'{hint}"
        return
    chain = [deed.id]
    while deed.after in by_id and deed.after not in chain:
        deed = by_id[deed.after]
        chain.append(deed.id)
    if deed.after and deed.after == chain[0] == next(name for name in by_id if name in chain):
        yield "after", f"this goes round in a circle: {' after '.join(map(str, [*chain, chain[0]]))}"
