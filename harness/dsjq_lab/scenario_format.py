"""The format of a scenario file, as models: aliases are the keys of the file, attributes carry the units."""

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from dsjq_lab.scenario_values import (
    AtLeastOne,
    Duration,
    MaybeDuration,
    MaybeRate,
    MaybeSize,
    PositiveDuration,
    Priority,
    Strict,
    key,
    long_enough,
    positive,
    word,
)
from dsjq_lab.scenario_verbs import AnyDeed

InvariantName = Literal[
    "no_lost_job",
    "no_unexpected_job",
    "payload_intact",
    "exclusive_lease",
    "done_is_final",
    "no_stale_ack",
    "late_ack_refused",
    "effect_once",
    "redelivered_in_time",
    "attempts_increase",
    "dead_letter_at_limit",
    "fifo",
    "requeue_keeps_position",
    "urgent_first",
    "no_starvation",
    "not_early",
    "deduplicated",
    "no_success_after_fsync_error",
    "everything_finishes",
    "counts_conserved",
    "legal_transitions",
    "no_leak",
    "replies_match",
    "strangers_refused",
    "routed_right",
]
INVARIANTS: tuple[str, ...] = get_args(InvariantName)
StoreKind = Literal["memory", "journal", "sqlite"]
EffectKind = Literal["append", "idempotent", "fenced"]
TOLERANCE_S = 1.0
BACKOFF_DOUBLINGS_MAX = 30
Part = TypeVar("Part", bound=BaseModel)


class BrokerOptions(Strict):
    ack_timeout_s: Annotated[Duration, AfterValidator(long_enough)] = key(
        "ack_timeout", "1s", "how long a worker may keep a job without a word"
    )
    max_attempts: AtLeastOne = word("after so many that ended badly a job is dead", 5)
    store: StoreKind = word("but for memory it is given a folder, which survives its restarts", "memory")
    backoff_s: Annotated[MaybeDuration, AfterValidator(positive)] = key(
        "backoff", None, "pause before a retry; without it there is none"
    )
    backoff_cap_s: PositiveDuration = key(
        "backoff_cap", "5m", "the pause is doubled with every attempt, up to this"
    )
    tls: bool = word("nobody else learns what is said, where the broker can", False)
    users: bool = word("the broker asks who comes, where it can, and the lab's clients can say", False)

    @property
    def backoff_s_max(self) -> float:
        """The longest that a failed job may have to wait for any of its retries."""
        if self.backoff_s is None:
            return 0.0
        doublings = min(max(self.max_attempts - 2, 0), BACKOFF_DOUBLINGS_MAX)
        return min(self.backoff_cap_s, self.backoff_s * 2.0**doublings)


class Load(Strict):
    jobs: Annotated[int, Field(ge=1, le=1_000_000)] = word("how many, in all")
    producers: AtLeastOne = word("who submit them", 1)
    rate_per_s: MaybeRate = key("rate", None, "of all producers together; without it as fast as they can")
    payload_bytes: MaybeSize = key("payload", None, "of each job; without it a few words")
    delays_s: Annotated[list[Duration], Field(min_length=1)] = key(
        "delays", ["0s"], "before which a job is given to nobody; the jobs take these in turns"
    )
    priorities: Annotated[list[Priority], Field(min_length=1)] = word(
        "the smaller goes first; the jobs take these in turns", [0]
    )
    keyed: bool = word("each job has a key, so whoever does not know whether it arrived asks again", False)


class Workers(Strict):
    count: AtLeastOne = word("how many", 1)
    work_time_s: Duration = key("work_time", "10ms", "of each job")
    fail_rate: Annotated[float, Field(ge=0, le=1)] = word("the share of attempts that end with FAIL", 0.0)
    release_rate: Annotated[float, Field(ge=0, le=1)] = word(
        "the share that is given back unharmed, where there is RELEASE", 0.0
    )
    effect: EffectKind | None = word("the ledger that finished work writes to before its ACK", None)
    renew: bool = word("each third of a lease while the handler runs, where there is TOUCH", False)
    max_runtime_s: Annotated[MaybeDuration, AfterValidator(positive)] = key(
        "max_runtime", None, "of a handler, after which its lease is not renewed"
    )


class Topic(Strict):
    """Publishers that each bind queues of their own to a topic exchange, and take out what comes of it."""

    bindings: Annotated[dict[str, list[str]], Field(min_length=1)] = word("queue: its patterns")
    keys: Annotated[list[str], Field(min_length=1)] = word("of one publish after the other, round and round")
    publishers: AtLeastOne = word("how many clients do so, each for itself", 1)
    publishes: AtLeastOne = word("of each publisher", 60)
    gap_s: Duration = key("gap", "20ms", "between two publishes")


class Circumstances(Strict):
    broker: Annotated[list[str], Field(min_length=1)] | None = word("names; core is any black box", None)
    durable: bool | None = word("whether it was given a folder for its jobs", None)

    @model_validator(mode="after")
    def names_something(self) -> "Circumstances":
        if self.broker is None and self.durable is None:
            raise PydanticCustomError("value", "should say with which broker, or whether it is durable")
        return self


class Expectation(Strict):
    """A deviation: what must be violated, else the run fails, and what may be."""

    given: Circumstances | None = key("with", None, "when it counts; the closest description wins")
    violated: list[InvariantName] = word("what must be violated, else the run fails", [])
    may_violate: list[InvariantName] = word("what may be", [])
    because: str = word("why that is as it should be")
    source: str = word("where it is described, or was measured", "")

    @model_validator(mode="after")
    def names_something(self) -> "Expectation":
        if not self.violated and not self.may_violate and not self.given:
            raise PydanticCustomError("value", "should name an invariant in violated or may_violate")
        return self


class Scenario(Strict):
    scenario: Literal[1] = word("the version of this format")
    title: str = word("a line")
    story: str = word("what happens, in a few sentences")
    ask: str = word("what the reader should predict", "")
    source: str = word("where this has happened, or is described", "")
    seed: int = word("of all dice", 1)
    broker: BrokerOptions = BrokerOptions()
    load: Load
    workers: Workers = Workers()
    strangers: Annotated[int, Field(ge=0, le=100)] = word("clients who try what they may not do", 0)
    topic: Topic | None = word("publishers beside the load, and a topic exchange of their own", None)
    faults: list[AnyDeed] = word("what goes wrong", [])
    network: Literal["record"] | None = word(
        "as with a fault of the network, each message is in the history", None
    )
    finish_within_s: PositiveDuration = key(
        "finish_within", "20s", "after the last submit and fault all jobs must be done or dead"
    )
    focus: list[InvariantName] = word("invariants that are told first", [])
    expect: list[Expectation] = word("deviations: whatever is not listed must hold", [])
    _name: str = PrivateAttr("")
    _time_scale: float = PrivateAttr(1.0)

    @property
    def name(self) -> str:
        """The stem of the file that it was loaded from."""
        return self._name

    @property
    def tolerance_s(self) -> float:
        """How late a black box may end a lease, and give a job back that is free (docs/protocol.md)."""
        return TOLERANCE_S * self._time_scale


def varied(scenario: Scenario, *, without_faults: bool = False, time_scale: float = 1.0) -> Scenario:
    """The same story for a slower machine, or without what goes wrong in it: its control."""
    if without_faults:
        scenario = scenario.model_copy(update={"faults": [], "strangers": 0, "expect": []})
    if time_scale != 1.0:
        scenario = stretched(scenario, time_scale)
        scenario._time_scale = time_scale
    return scenario


def stretched(part: Part, scale: float) -> Part:
    """A copy in which every duration is `scale` times as long, and every rate as much lower."""

    def value(name: str, old: Any) -> Any:
        if isinstance(old, BaseModel):
            return stretched(old, scale)
        if isinstance(old, list):
            return [value(name, item) for item in old]
        if isinstance(old, float) and (name.endswith("_s") or name == "until"):
            return old / scale if name.endswith("_per_s") else old * scale
        return old

    fields = {name: value(name, getattr(part, name)) for name in type(part).model_fields}
    return part.model_copy(update=fields)
