"""Who gets a copy is what the bindings say: each queue that one of them leads to, once, and no other.

A publisher binds queues of its own before it publishes, so no binding changes under way. What it is told at
once (how many copies there are, or that there are some, or none) must agree; what then comes out of a queue
must belong there. A second id for the same publish is a second copy, and so is what comes again from the
broker that has confirmed its ACK; the same id before that is at-least-once. That
a copy is missing is certain only if the queue was seen EMPTY later, while nothing got lost: a request of
unknown outcome may have taken it, and a broker that keeps nothing may have died. One that keeps its
jobs keeps what is bound as well, and may not say later that there is no such exchange or queue.
"""

from collections.abc import Iterator

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call
from dsjq_lab.verdict import Verdict

UNROUTABLE = "ERROR UNROUTABLE"
FORGOTTEN = ("ERROR NO_SUCH_EXCHANGE", "ERROR NO_SUCH_QUEUE")


class RoutedRight(Checker):
    name = "routed_right"
    rule = "What is published is copied once into each queue that a binding leads to, and into no other."

    def check(self, model: Model) -> Verdict:
        routes: dict[str, _Route] = {}
        findings: list[Finding] = []
        for call, value, error in model.routed:
            route = routes.setdefault(call.process, _Route(model))
            findings += route.follow(call, value, error)
        seen = sum(len(route.keys) for route in routes.values())
        if not seen:
            why = "this broker knows no exchanges" if routes else "nothing was published"
            return self.not_applicable(why)
        return self.judged(findings, f"{some(seen, 'publish', 'publishes')}, each where the bindings lead")


class _Route:
    """One publisher, its bindings, and what it has seen so far."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.patterns: dict[str, list[str]] = {}
        self.keys: dict[str, tuple[str, Call]] = {}  # copy -> its routing key, the call that published it
        self.ids: dict[tuple[str, str], tuple[str, Call]] = {}  # (queue, copy) -> id, who brought it
        self.acked: dict[tuple[str, str], Call] = {}  # (queue, copy) -> the ACK that was confirmed
        self.owed: dict[tuple[str, str], Call] = {}  # confirmed, certainly there, and not seen yet
        self.life = 0

    def follow(self, call: Call, value: dict[str, object], error: str | None) -> Iterator[Finding]:
        life = self.model.life(call.invoked_ns)
        if call.outcome == "info" or (life != self.life and not self.model.header.durable):
            self.owed.clear()
        if life != self.life and not self.model.header.durable:
            self.ids.clear()
        self.life = life
        if call.f == "bind":
            self.patterns = value["patterns"]  # type: ignore[assignment]
        elif (error or "").startswith(FORGOTTEN) and self.model.header.durable:
            yield Finding(f"what was bound is forgotten: {error}", None, call.ops)
        elif call.f == "publish":
            yield from self.published(call, value, error or "")
        elif call.f == "take" and call.outcome == "ok":
            yield from self.taken(call, value)
        elif call.f == "taken" and call.outcome == "ok":
            self.acked[str(value["queue"]), str(value.get("copy"))] = call

    def leads_to(self, key: str) -> list[str]:
        return [queue for queue, patterns in self.patterns.items() if any(matches(p, key) for p in patterns)]

    def published(self, call: Call, value: dict[str, object], error: str) -> Iterator[Finding]:
        copy, key = str(value["copy"]), str(value["key"])
        self.keys[copy] = key, call
        queues, ids = self.leads_to(key), value.get("ids")
        if call.outcome == "ok" and ids is None:
            says, agrees = "routed", bool(queues)
        elif call.outcome == "ok":
            told = len(set(ids))  # type: ignore[call-overload]
            says, agrees = some(told, "copy", "copies"), told == len(queues)
        else:
            says, agrees = "unroutable", not (queues and error.startswith(UNROUTABLE))
        if not agrees:
            summary = f"{copy}, key {key!r}: {says}, and the bindings lead to {some(len(queues), 'queue')}"
            yield Finding(summary, None, call.ops)
        elif call.outcome == "ok":
            self.owed |= {(queue, copy): call for queue in queues}

    def taken(self, call: Call, value: dict[str, object]) -> Iterator[Finding]:
        queue = str(value["queue"])
        if value.get("empty"):
            for place in [place for place in self.owed if place[0] == queue]:
                publish = self.owed.pop(place)
                yield Finding(f"{place[1]} did not come to {queue}", None, publish.ops + call.ops)
            return
        copy, id = str(value["job"]), str(value["id"])
        self.owed.pop((queue, copy), None)
        if copy not in self.keys:
            yield Finding(f"{copy} came to {queue}, and was never published", None, call.ops)
            return
        key, publish = self.keys[copy]
        before, brought = self.ids.setdefault((queue, copy), (id, call))
        if publish.outcome == "fail" or queue not in self.leads_to(key):
            why = "was refused" if publish.outcome == "fail" else f"no binding leads key {key!r} there"
            yield Finding(f"{copy} came to {queue}, but {why}", None, publish.ops + call.ops)
        elif before != id:
            yield Finding(f"{copy} came to {queue} twice: {before} and {id}", None, brought.ops + call.ops)
        elif (ack := self.acked.get((queue, copy))) and self.same_broker(ack, call):
            yield Finding(f"{copy} came to {queue} after its ACK was answered OK", None, ack.ops + call.ops)

    def same_broker(self, before: Call, after: Call) -> bool:
        """Certainly: no death lies between the two."""
        incarnation = self.model.incarnation(before)
        return incarnation is not None and incarnation == self.model.incarnation(after)


def matches(pattern: str, key: str) -> bool:
    """As it is told: what the first word of the pattern may stand for, and the rest for the rest."""
    return _matches(*(text.split(".") if text else [] for text in (pattern, key)))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(_matches(rest, words[used:]) for used in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])
