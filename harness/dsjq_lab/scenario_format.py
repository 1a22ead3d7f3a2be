"""The format of a scenario file, as models: aliases are the keys of the file, attributes carry the units.

In the file a unit is part of the value (`ack_timeout: 250ms`); in the program it is part of the name
(`ack_timeout_s == 0.25`). A fault is a verb, a victim, a trigger and an end, whatever its verb.
"""

import re
from math import floor
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

InvariantName = Literal[
    "no_lost_job",
    "no_unexpected_job",
    "payload_intact",
    "exclusive_lease",
    "done_is_final",
    "everything_finishes",
]
INVARIANTS: tuple[str, ...] = get_args(InvariantName)

Event = Literal["submitted", "delivered", "before_ack", "acked", "failed"]
EVENTS = {  # whose event it is, and how it reads in a plan
    "submitted": ("producer", "submit {} is confirmed"),
    "delivered": ("worker", "delivery {} is read, its work not begun"),
    "before_ack": ("worker", "ack {} is about to be sent, its work done"),
    "acked": ("worker", "ack {} is confirmed"),
    "failed": ("worker", "failure {} is confirmed"),
}


# -- Values ------------------------------------------------------------------------------------------------

DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m)"
RATE = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)/s"
VICTIMS = [
    "broker",
    "worker N",
    "producer N",
    "that worker",
    "that producer",
    "random worker",
    "half the workers",
    "all workers",
]
VICTIM = "|".join(VICTIMS).replace("N", "[1-9][0-9]{0,5}")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class Victim(NamedTuple):
    """Whom a fault strikes: `which` is a number, or one of the, that, random, half, all."""

    text: str
    role: Literal["broker", "worker", "producer"]
    which: int | str

    @classmethod
    def parse(cls, text: Any) -> "Victim":
        if not isinstance(text, str) or not re.fullmatch(VICTIM, text):
            raise PydanticCustomError("victim", "nobody is called so")
        if text == "broker":
            return cls(text, "broker", "the")
        role: Literal["worker", "producer"] = "producer" if "producer" in text else "worker"
        first, last = text.split()[0], text.split()[-1]
        return cls(text, role, int(last) if last.isdigit() else first)


def seconds(value: Any) -> float:
    if isinstance(value, int | float):
        raise PydanticCustomError("unit", "write the unit, e.g. 250ms")
    if not isinstance(value, str) or not (match := re.fullmatch(DURATION, value)):
        raise PydanticCustomError("unit", "write a number and ms, s or m, e.g. 250ms, 2s, 1m")
    return round(float(match[1]) * SECONDS[match[2]], 9)


def per_second(value: Any) -> float:
    if not isinstance(value, str) or not (match := re.fullmatch(RATE, value)):
        raise PydanticCustomError("unit", "write a rate per second, e.g. 50/s")
    return positive(float(match[1]))


def positive(number: float) -> float:
    if number <= 0:
        raise PydanticCustomError("value", "should be more than 0")
    return number


def long_enough(timeout_s: float) -> float:
    if timeout_s < 0.2:
        raise PydanticCustomError("value", "should be at least 200ms, so that a busy machine is no fault")
    return timeout_s


def only_the_broker(victim: Victim) -> Victim:
    if victim.role != "broker":
        raise PydanticCustomError("value", "only the broker is restarted; others: kill with restart_after")
    return victim


def text_like(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


Duration = Annotated[float, PlainValidator(seconds), text_like(DURATION)]
PositiveDuration = Annotated[Duration, AfterValidator(positive)]
MaybeDuration = Annotated[float | None, PlainValidator(seconds), text_like(DURATION)]
MaybeRate = Annotated[float | None, PlainValidator(per_second), text_like(RATE)]
AnyVictim = Annotated[Victim, PlainValidator(Victim.parse), text_like(VICTIM)]
AtLeastOne = Annotated[int, Field(ge=1)]


def key(name: str, default: Any = ...) -> Any:
    """The field's name in the file; its default is written as in the file, None meaning absent."""
    return Field(default, alias=name, validate_default=default is not None)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


# -- Faults: a verb, a victim, a trigger, an end ----------------------------------------------------------


class Timed(NamedTuple):
    at_s: list[float]  # the moments of all strikes, from the start of the load


class When(NamedTuple):
    event: str
    nth: int


class Fault(Strict):
    verb: ClassVar[str]
    ending: ClassVar[str]

    victim: AnyVictim
    lasts_s: MaybeDuration  # until the victim is back; None is for good
    at_s: MaybeDuration = key("at", None)
    every_s: Annotated[MaybeDuration, AfterValidator(positive)] = key("every", None)
    from_s: MaybeDuration = key("from", None)
    until_s: MaybeDuration = key("until", None)
    when: Annotated[dict[Event, AtLeastOne], Field(min_length=1, max_length=1)] = {}

    @property
    def trigger(self) -> Timed | When:
        if self.when:
            return When(*next(iter(self.when.items())))
        if self.every_s is None or self.until_s is None:
            return Timed([self.at_s or 0.0])
        start_s = self.every_s if self.from_s is None else self.from_s
        strikes = floor(round((self.until_s - start_s) / self.every_s, 6)) + 1  # until is included
        return Timed([round(start_s + i * self.every_s, 6) for i in range(strikes)])

    def __str__(self) -> str:
        trigger = self.trigger
        if isinstance(trigger, When):
            moment = f"when {EVENTS[trigger.event][1].format(trigger.nth)}"
        elif self.every_s is not None:
            moment = f"every {self.every_s:g} s from {trigger.at_s[0]:g} s until {self.until_s:g} s"
        else:
            moment = f"at {self.at_s:g} s"
        end = "for good" if self.lasts_s is None else self.ending.format(f"{self.lasts_s:g} s")
        note = "exact" if isinstance(trigger, When) else f"strikes: {len(trigger.at_s)}"
        return f"{moment}: {self.verb} {self.victim.text}, {end}  ({note})"


class Kill(Fault):
    verb, ending = "kill", "back after {}"
    victim: AnyVictim = key("kill")
    lasts_s: MaybeDuration = key("restart_after", None)


class Term(Fault):
    verb, ending = "term", "back after {}"
    victim: AnyVictim = key("term")
    lasts_s: MaybeDuration = key("restart_after", None)


class Pause(Fault):
    verb, ending = "pause", "for {}"
    victim: AnyVictim = key("pause")
    lasts_s: PositiveDuration = key("for")


class Restart(Fault):
    verb, ending = "restart", "down for {}"
    victim: Annotated[AnyVictim, AfterValidator(only_the_broker)] = key("restart")
    lasts_s: Duration = key("down_for", "0s")


VERBS: dict[str, type[Fault]] = {fault.verb: fault for fault in (Kill, Term, Pause, Restart)}


def verb_of(entry: Any) -> str | None:
    return next((word for word in entry if word in VERBS), None) if isinstance(entry, dict) else None


AnyFault = Annotated[
    Annotated[Kill, Tag("kill")]
    | Annotated[Term, Tag("term")]
    | Annotated[Pause, Tag("pause")]
    | Annotated[Restart, Tag("restart")],
    Discriminator(verb_of),
]


# -- The file ---------------------------------------------------------------------------------------------


class BrokerOptions(Strict):
    ack_timeout_s: Annotated[Duration, AfterValidator(long_enough)] = key("ack_timeout", "1s")
    max_attempts: AtLeastOne = 5


class Load(Strict):
    jobs: Annotated[int, Field(ge=1, le=1_000_000)]
    producers: AtLeastOne = 1
    rate_per_s: MaybeRate = key("rate", None)  # of all producers together; None is as fast as they can


class Workers(Strict):
    count: AtLeastOne = 1
    work_time_s: Duration = key("work_time", "10ms")
    fail_rate: Annotated[float, Field(ge=0, le=1)] = 0.0


class Expectation(Strict):
    """A deviation: what must be violated, else the run fails, and what may be."""

    violated: list[InvariantName] = []
    may_violate: list[InvariantName] = []
    because: str

    @model_validator(mode="after")
    def names_something(self) -> "Expectation":
        if not self.violated and not self.may_violate:
            raise PydanticCustomError("value", "should name an invariant in violated or may_violate")
        return self


class Scenario(Strict):
    scenario: Literal[1]
    title: str
    story: str
    ask: str = ""
    seed: int = 1
    broker: BrokerOptions = BrokerOptions()
    load: Load
    workers: Workers = Workers()
    faults: list[AnyFault] = []
    finish_within_s: PositiveDuration = key("finish_within", "20s")
    focus: list[InvariantName] = []
    expect: list[Expectation] = []
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The stem of the file that it was loaded from."""
        return self._name
