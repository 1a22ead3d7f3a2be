"""The values of a scenario file: a unit is part of the value there, and part of the name in the program.

`ack_timeout: 250ms` is read as `ack_timeout_s == 0.25`. A value knows its pattern, so that an editor which
knows the JSON Schema refuses the same texts as the lab.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m)"
RATE = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)/s"
STEP = f"-?{DURATION}"
SHARE = r"([1-9][0-9]?)%"
SIZE = r"([1-9][0-9]{0,5})(B|KiB)"
BYTE_RATE = r"([1-9][0-9]{0,5})(B|KiB)/s"
PAYLOAD_BYTES_MAX = 60_000  # a line of the text protocol holds little more
NAME = r"[a-z][a-z0-9_]{0,39}"
THAT_JOB = "that job"
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
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
DEAD_JOBS = "dead jobs"


class Victim(NamedTuple):
    """Whom a fault strikes: `which` is a number, or one of the, that, random, half, all."""

    text: str
    role: Literal["broker", "worker", "producer", "auditor"]
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


def step(value: Any) -> float:
    forward = seconds(value.removeprefix("-") if isinstance(value, str) else value)
    return -forward if isinstance(value, str) and value.startswith("-") else forward


def per_second(value: Any) -> float:
    if not isinstance(value, str) or not (match := re.fullmatch(RATE, value)):
        raise PydanticCustomError("unit", "write a rate per second, e.g. 50/s")
    return positive(float(match[1]))


def share(value: Any) -> float:
    if not isinstance(value, str) or not (match := re.fullmatch(SHARE, value)):
        raise PydanticCustomError("unit", "write a share from 1% to 99%")
    return int(match[1]) / 100


def size(value: Any) -> int:
    if not isinstance(value, str) or not (match := re.fullmatch(SIZE, value)):
        raise PydanticCustomError("unit", "write a number and B or KiB, e.g. 100B, 12KiB")
    count = int(match[1]) * (1024 if match[2] == "KiB" else 1)
    if count > PAYLOAD_BYTES_MAX:
        raise PydanticCustomError("value", f"should be at most {PAYLOAD_BYTES_MAX}B: a line holds no more")
    return count


def bytes_per_second(value: Any) -> float:
    if not isinstance(value, str) or not (match := re.fullmatch(BYTE_RATE, value)):
        raise PydanticCustomError("unit", "write bytes a second, e.g. 500B/s, 20KiB/s")
    return float(match[1]) * (1024 if match[2] == "KiB" else 1)


def occurrence(value: Any) -> int | str:
    if value == THAT_JOB or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value  # type: ignore[no-any-return]
    raise PydanticCustomError("value", "should be a number from 1, counted from the start, or 'that job'")


def positive(number: float) -> float:
    if number <= 0:
        raise PydanticCustomError("value", "should be more than 0")
    return number


def long_enough(timeout_s: float) -> float:
    if timeout_s < 0.2:
        raise PydanticCustomError("value", "should be at least 200ms, so that a busy machine is no fault")
    return timeout_s


def text_like(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


Duration = Annotated[float, PlainValidator(seconds), text_like(DURATION)]
PositiveDuration = Annotated[Duration, AfterValidator(positive)]
Step = Annotated[float, PlainValidator(step), text_like(STEP)]  # forward, or back
MaybeDuration = Annotated[float | None, PlainValidator(seconds), text_like(DURATION)]
MaybeRate = Annotated[float | None, PlainValidator(per_second), text_like(RATE)]
ByteRate = Annotated[float, PlainValidator(bytes_per_second), text_like(BYTE_RATE)]
Size = Annotated[int, PlainValidator(size), text_like(SIZE)]
MaybeSize = Annotated[int | None, PlainValidator(size), text_like(SIZE)]
Priority = Annotated[int, Field(ge=-9, le=9)]  # the smaller goes first
Share = Annotated[float, PlainValidator(share), text_like(SHARE)]
Name = Annotated[str | None, Field(pattern=f"^{NAME}$")]
AnyVictim = Annotated[Victim, PlainValidator(Victim.parse), text_like(VICTIM)]
AtLeastOne = Annotated[int, Field(ge=1)]
Occurrence = Annotated[
    int | str,
    PlainValidator(occurrence),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": THAT_JOB}]}),
]


def key(name: str, default: Any = ..., says: str | None = None) -> Any:
    """The field's name in the file; its default is written as in the file, None meaning absent."""
    return Field(default, alias=name, validate_default=default is not None, description=says)


def word(says: str, default: Any = ...) -> Any:
    """A field that is called in the file as it is here."""
    return Field(default, description=says)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
