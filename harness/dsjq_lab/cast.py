"""Who takes part in an experiment, and what the conductor knows of each."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from dsjq_lab.history import Op
from dsjq_lab.scenario import Deed, Scenario, When

WHEN_STRUCK = {  # the state that a fault leads to
    "pause": "paused", "hang": "stuck", "throttle": "slowed", "partition": "cut off",
}  # fmt: skip


@dataclass(eq=False)
class Member:
    """One process of the experiment, over all its incarnations."""

    name: str
    config: dict[str, Any]
    incarnation: int = 0
    alive: bool = False
    strike: "Strike | None" = None  # faults on one victim are serialised
    retired: bool = False  # ended by a fault, for good
    excuse: "Strike | None" = None  # what its incarnation has suffered since when it may end by itself
    job: str | None = None  # at hand, by nonce
    left: dict[str, None] = field(default_factory=dict)  # a producer's jobs that are still to be sent
    settles_on: tuple[str, ...] = ("invoke",)  # what is under way may arrive twice if it is sent again
    asked_ns: int = 0
    empty_from_ns: int | None = None  # a worker's answers were all EMPTY from here
    empty_until_ns: int = 0  # to here

    @cached_property
    def role(self) -> str:
        return self.name.split(" ")[0]

    @property
    def free(self) -> bool:
        """To be struck."""
        return self.alive and self.strike is None

    @property
    def state(self) -> str:
        if not self.alive:
            return "ended"
        if self.strike is not None and self.strike.phase == "struck":
            return WHEN_STRUCK.get(self.strike.fault.verb, "struck")
        return "busy" if self.job else "idle"

    @property
    def empty_ns(self) -> int:
        """For how long it has seen nothing but an empty queue."""
        return 0 if self.empty_from_ns is None else self.empty_until_ns - self.empty_from_ns

    def observe(self, op: Op) -> None:
        """Takes note of what it reports."""
        if op.type == "invoke":
            self.asked_ns = op.time_ns
        if op.f == "submit":
            job = op.value["job"]
            self.job = job if op.type == "invoke" else None
            if op.type in self.settles_on:
                self.left.pop(job, None)
        elif op.f == "reserve" and op.type != "invoke":
            self.job = op.value["job"] if "id" in op.value else None
            if op.value.get("empty"):
                self.empty_from_ns = self.empty_from_ns or op.time_ns
                self.empty_until_ns = op.time_ns
            else:
                self.empty_from_ns = None
        elif op.f in ("ack", "fail", "release") and op.type != "invoke":
            self.job = None


@dataclass(eq=False)
class Strike:
    """One fault on one victim, from the moment it is announced until it is healed."""

    number: int
    fault: Deed
    victim: Member
    exact: bool
    job: str  # "that job": the one whose event called for it
    phase: Literal["begun", "struck", "healing", "over"] = "begun"
    due: bool = False  # the event that ends it has come


def cast(scenario: Scenario, *, audited: bool, strangers: bool) -> list[Member]:
    """Everybody who takes part, in the order of their start."""
    events = {moment.event for fault in scenario.faults for moment in (fault.trigger, fault.end)
              if isinstance(moment, When)}  # fmt: skip
    gates = {"delivered" if event == "redelivered" else event for event in events} - {"broker_ready"}
    common = {
        "seed": scenario.seed,
        "ack_timeout_s": scenario.broker.ack_timeout_s,
        "gates": sorted(gates),
    }
    load, workers, topic = scenario.load, scenario.workers, scenario.topic
    work = {
        "work_time_s": workers.work_time_s,
        "fail_rate": workers.fail_rate,
        "release_rate": workers.release_rate,
        "effect": workers.effect is not None,
        "renew": workers.renew,
        "max_runtime_s": workers.max_runtime_s,
    }
    produce = {
        "gap_s": load.producers / load.rate_per_s if load.rate_per_s else 0,
        "payload_bytes": load.payload_bytes,
        "delays_s": load.delays_s,
        "priorities": load.priorities,
        "keyed": load.keyed,
    }
    settles_on = ("ok", "fail") if load.keyed else ("invoke",)
    members = [Member("broker", {})]
    if strangers:
        members += [Member(f"stranger {number}", common) for number in range(1, scenario.strangers + 1)]
    members += [Member("auditor", common)] if audited else []
    if topic:
        publish = {"topic": topic.model_dump()}
        numbers = range(1, topic.publishers + 1)
        members += [Member(f"publisher {number}", common | publish) for number in numbers]
    members += [Member(f"worker {number}", common | work) for number in range(1, workers.count + 1)]
    for number in range(1, load.producers + 1):
        share = [f"j{job}" for job in range(number, load.jobs + 1, load.producers)]
        left = dict.fromkeys(share)
        members.append(
            Member(f"producer {number}", common | produce, left=left, settles_on=settles_on)
        )
    return members
