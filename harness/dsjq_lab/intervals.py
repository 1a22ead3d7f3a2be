"""Once all is read, each delivery gets its two intervals: when it was certainly held, when certainly back.

The first is closed by whatever *may* have ended the hold, at its earliest: the holder's own word, the end of
the lease, of the connection, of the broker. The second is opened by what *must* have ended it, at its latest:
a broker may be a little late where the contract says so, and while a fault is upon it, it need do nothing.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dsjq_lab.seen import UNFELT, Call, Delivery, Job, Strike

if TYPE_CHECKING:
    from dsjq_lab.model import Model

LINK_VERBS = frozenset({  # what is done on the way between a client and the broker
    "partition", "half_open", "latency", "bandwidth", "slice", "coalesce", "corrupt", "reset", "cut",
    "lose_reply",
})  # fmt: skip


def settle(
    model: "Model", troubles: "Troubles", cuts: Mapping[str, int], overs: Mapping[str, int]
) -> None:
    """`cuts`: when each connection may first have ended; `overs`: when it was certainly over."""
    _Intervals(model, troubles, cuts, overs).settle()


class Troubles:
    """When faults were upon the broker, and upon its links: what it learns then, it may learn late."""

    def __init__(self, model: "Model") -> None:
        self.slack_ns = model.slack_ns
        everybody: list[Strike] = []
        links: dict[str, list[Strike]] = {}
        for strike in sorted(model.strikes, key=lambda strike: strike.begin_ns):
            if strike.victim == "broker" and strike.verb not in UNFELT:
                everybody.append(strike)
            elif strike.verb in LINK_VERBS:
                links.setdefault(strike.victim, []).append(strike)
        self.everybody = list(self.stretches(everybody))
        self.links = {
            process: list(self.stretches(sorted([*everybody, *strikes], key=lambda strike: strike.begin_ns)))
            for process, strikes in links.items()
        }

    def stretches(self, strikes: list[Strike]) -> Iterator[tuple[int, float]]:
        """Between two strikes there is no peace if it is shorter than the slack."""
        begun: tuple[int, float] | None = None
        for strike in strikes:
            end_ns = math.inf if strike.end_ns is None else strike.end_ns
            if begun and strike.begin_ns <= begun[1] + self.slack_ns:
                begun = (begun[0], max(begun[1], end_ns))
                continue
            if begun:
                yield begun
            begun = (strike.begin_ns, end_ns)
        if begun:
            yield begun

    def in_peace(self, time_ns: float, late_ns: int, process: str = "") -> float:
        """`late_ns` after a moment; if there is trouble meanwhile, the slack after its end.

        With a process: of what had to come over its link.
        """
        if troubles := self.links.get(process, self.everybody):
            following = bisect_left(troubles, time_ns, key=lambda trouble: trouble[1])
            if following < len(troubles) and troubles[following][0] <= time_ns + late_ns:
                return troubles[following][1] + self.slack_ns
        return time_ns + late_ns


class _Intervals:
    def __init__(
        self, model: "Model", troubles: Troubles, cuts: Mapping[str, int], overs: Mapping[str, int]
    ) -> None:
        self.model, self.troubles, self.cuts, self.overs = model, troubles, cuts, overs
        self.ack_timeout_ns = model.header.ack_timeout_ns
        self.slack_ns = model.slack_ns

    def settle(self) -> None:
        for delivery in self.deliveries():
            life = self.model.life(delivery.invoked_ns)
            death_ns = self.model.death_ns(life)
            delivery.incarnation = life if delivery.returned_ns < death_ns else None
            delivery.cut_ns = min(death_ns, self.cuts.get(delivery.call.conn, math.inf))
            delivery.held_until_ns = min(delivery.cut_ns, self.lease_end(delivery))
            self.give_back(delivery)
        for job in self.model.jobs.values():
            tell_copies(job, self.model)

    def deliveries(self) -> Iterator[Delivery]:
        for job in self.model.jobs.values():
            yield from job.deliveries
        yield from self.model.strays

    # At the earliest

    def lease_end(self, delivery: Delivery) -> int:
        """Until when the broker must keep it for this holder, if nothing is cut. Broker and holder may count
        from different moments, so the lease is counted from the invocation: no broker can count from earlier.
        """
        end_ns = delivery.invoked_ns + self.ack_timeout_ns
        for call in delivery.settles:
            if call.f != "touch":
                return min(end_ns, call.invoked_ns)
            # A TOUCH that returned after the end may have revived a lease that somebody else had between.
            if call.outcome == "ok" and call.returned_ns <= end_ns:
                end_ns = call.invoked_ns + self.ack_timeout_ns
        return end_ns

    # At the latest

    def give_back(self, delivery: Delivery) -> None:
        """Only a broker that gives tokens looks at its clock at each command; the others may be late."""
        late_ns = self.slack_ns if delivery.token is None else 0
        renewed_ns: float = delivery.returned_ns
        given_back: Call | None = None
        acks: list[Call] = []
        for call in delivery.settles:
            if call.outcome == "fail":
                continue
            if call.f == "touch":
                renewed_ns = max(renewed_ns, call.returned_ns if call.outcome == "ok" else math.inf)
            elif call.f in ("fail", "release"):
                given_back = call
            else:
                acks.append(call)
        delivery.accepted = acks[0] if acks and acks[0].outcome == "ok" else None
        delivery.lapsed_ns = self.troubles.in_peace(renewed_ns + self.ack_timeout_ns, late_ns)
        over_ns = self.troubles.in_peace(self.over(delivery), self.slack_ns, delivery.call.process)
        delivery.back_ns = min(delivery.lapsed_ns, over_ns)
        if given_back:  # since that was heard: before the lease ended, at any rate
            heard_ns = given_back.returned_ns if given_back.outcome == "ok" else delivery.back_ns
            pause_ns = self.model.header.backoff_ns if given_back.f == "fail" else 0
            delivery.back_ns = self.troubles.in_peace(heard_ns, late_ns) + pause_ns

    def over(self, delivery: Delivery) -> float:
        """When its connection was; or when a broker that is durable had died, and is back with its jobs."""
        if not self.model.header.gives_back_at_disconnect:
            return math.inf
        over_ns = self.overs.get(delivery.call.conn, math.inf)
        if not self.model.header.durable:
            return over_ns
        deaths = self.model.deaths
        next_death = bisect_left(deaths, delivery.returned_ns, key=lambda death: death.begin_ns)
        return min([over_ns, *(death.until_ns for death in deaths[next_death : next_death + 1])])


def tell_copies(job: Job, model: "Model") -> None:
    if len(job.submits) == 1 or sum(submit.outcome != "fail" for submit in job.submits) <= 1:
        job.copies = [job.deliveries]
        return
    job.is_single = False
    copies: dict[tuple[int, str], list[Delivery]] = {}
    for delivery in job.deliveries:
        if (memory := model.memory(delivery.incarnation)) is not None:
            copies.setdefault((memory, delivery.id), []).append(delivery)
    job.copies = list(copies.values())
