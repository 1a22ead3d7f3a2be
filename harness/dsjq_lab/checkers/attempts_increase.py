"""Every delivery has a larger token than all before it: so a resource can tell the zombie from the holder.

A token names one delivery and never another; the attempt counts the deliveries of its job; an id names one
job. All three are read within one life of the broker, or over all its lives if it is durable; only attempts,
whose count may lag behind after a loss of power, begin again there. "Before" is certain order: the later
delivery was asked for after the earlier one had returned. Tokens of an unknown shape can only be compared for
being equal. Where there are no tokens, the ids remain.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery
from dsjq_lab.verdict import Verdict

TOKEN = re.compile(r"(\d+)\.(\d+)")  # <epoch>.<counter>, compared as two numbers


class AttemptsIncrease(Checker):
    name = "attempts_increase"
    rule = "Each delivery has a larger token than those before it, and a larger attempt; an id names one job."

    def check(self, model: Model) -> Verdict:
        findings: dict[str, Finding] = {}
        for found in (*_ids_used_twice(model), *_tokens_used_twice(model), *_not_increased(model)):
            findings.setdefault(found.job or found.summary, found)
        count = sum(len(job.deliveries) for job in model.jobs.values())
        told = "ids, tokens and attempts" if model.has_tokens else "ids (this broker gives no tokens)"
        return self.judged(list(findings.values()), f"{told} of {some(count, 'delivery', 'deliveries')}")


def _ids_used_twice(model: Model) -> Iterator[Finding]:
    """By two answers to SUBMIT, or by an answer and a delivery."""
    for id, first, call in model.renamed:
        memory = model.memory(model.incarnation(first))
        if memory is not None and memory == model.memory(model.incarnation(call)):
            yield Finding(f"id {id} names two jobs", None, first.ops + call.ops)


def _tokens_used_twice(model: Model) -> Iterator[Finding]:
    owners: dict[tuple[int, str], Delivery] = {}
    for job in model.jobs.values():
        for delivery in job.deliveries:
            memory = model.memory(delivery.incarnation)
            if delivery.token is None or memory is None:
                continue
            first = owners.setdefault((memory, delivery.token), delivery)
            if first is not delivery:
                whom = f"{first.call.process} and {delivery.call.process}"
                summary = f"job {job.nonce}: token {delivery.token} given to {whom}"
                yield Finding(summary, job.nonce, first.call.ops + delivery.call.ops)


def _not_increased(model: Model) -> Iterator[Finding]:
    for job in model.jobs.values():
        if len(job.deliveries) < 2:
            continue
        for copy in _split(job.deliveries, lambda delivery: model.memory(delivery.incarnation)):
            yield from _fallen(copy, "token", lambda delivery: _number(delivery.token))
        for copy in _split(job.deliveries, model.count):
            yield from _fallen(copy, "attempt", lambda delivery: delivery.attempt)


def _split(deliveries: list[Delivery], place: Callable[[Delivery], int | None]) -> Iterable[list[Delivery]]:
    """By id and place; those whose place is in doubt are left out."""
    copies: dict[tuple[int, str], list[Delivery]] = {}
    for delivery in deliveries:
        if (where := place(delivery)) is not None:
            copies.setdefault((where, delivery.id), []).append(delivery)
    return copies.values()


def _fallen(copy: list[Delivery], what: str, read: Callable[[Delivery], Any]) -> Iterator[Finding]:
    """The deliveries whose token or attempt is not above the largest of those that certainly came before."""
    by_return = iter([delivery for delivery in copy if read(delivery) is not None])
    returned = next(by_return, None)
    largest: Delivery | None = None
    for later in sorted(copy, key=lambda delivery: delivery.invoked_ns):
        while returned and returned.returned_ns < later.invoked_ns:
            if largest is None or read(returned) > read(largest):
                largest = returned
            returned = next(by_return, None)
        if largest and read(later) is not None and read(later) <= read(largest):
            told = f"{getattr(largest, what)}, later {getattr(later, what)}"
            summary = f"job {later.nonce}: {what} first {told}"
            yield Finding(summary, later.nonce, largest.call.ops + later.call.ops)


def _number(token: str | None) -> tuple[int, int] | None:
    parts = TOKEN.fullmatch(token or "")
    return (int(parts[1]), int(parts[2])) if parts else None
