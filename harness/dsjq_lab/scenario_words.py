"""The words of a scenario file, each with what may be written there: read out of the models that check it.

`broker.ack_timeout` is a word of the part `broker`; `faults.kill.restart_after` one that goes with the verb
`kill`, and `faults.when` one that goes with all verbs.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from dsjq_lab.scenario_faults import Deed
from dsjq_lab.scenario_format import BrokerOptions, Circumstances, Expectation, Load, Scenario, Topic, Workers
from dsjq_lab.scenario_values import BYTE_RATE, DURATION, NAME, RATE, SHARE, SIZE, STEP, VICTIM
from dsjq_lab.scenario_verbs import VERBS

LIKE = {  # what a pattern of the schema means to people
    DURATION: "a duration (250ms, 2s, 1m)",
    STEP: "a duration (60m, -60m)",
    RATE: "a rate (50/s)",
    BYTE_RATE: "a rate (20KiB/s)",
    SIZE: "a size (100B, 12KiB)",
    SHARE: "a share (20%)",
    NAME: "a name",
    VICTIM: "a victim",
}
KINDS = {"string": "a text", "integer": "a number", "number": "a number", "boolean": "true or false",
         "object": "a mapping"}  # fmt: skip
PARTS: dict[str, type[BaseModel]] = {
    "broker": BrokerOptions, "load": Load, "workers": Workers, "topic": Topic,
    "expect": Expectation, "expect.with": Circumstances,
}  # fmt: skip


class Word(NamedTuple):
    path: str
    terms: str  # what may be written, and what counts if nothing is
    says: str


def words() -> Iterator[Word]:
    yield from of("", Scenario)
    for part, model in PARTS.items():
        yield from of(f"{part}.", model)
    common = [word._replace(path=f"faults.{word.path}") for word in of("", Deed)]
    yield from common
    for verb, model in VERBS.items():
        for word in of(f"faults.{verb}.", model):
            if word.path.replace(f"{verb}.", "") not in {other.path for other in common}:
                yield word


def of(prefix: str, model: type[BaseModel]) -> Iterator[Word]:
    """The words of one model that say something by themselves: a part, or a victim, does not."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        if says := field.get("description"):
            yield Word(prefix + name, terms(field, schema.get("$defs", {}), name in required), says)


def terms(field: Mapping[str, Any], defs: Mapping[str, Any], required: bool) -> str:
    default = field.get("default")
    if required:
        return f"{kind(field, defs)}, required"
    return kind(field, defs) + ("" if default in (None, "", [], {}) else f", else {plain(default)}")


def kind(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return kind(defs[field["$ref"].rpartition("/")[2]], defs)
    if choices := field.get("anyOf") or field.get("oneOf"):
        told = [kind(choice, defs) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(told))
    if "const" in field or "enum" in field:
        return " or ".join(map(str, field.get("enum") or [field["const"]]))
    if "pattern" in field:
        bare = field["pattern"].removeprefix("^").removesuffix("$")
        return LIKE.get(bare) or LIKE.get(bare[1:-1], "a text")
    if field.get("type") == "array":
        return "a list"
    least, most = field.get("minimum"), field.get("maximum")
    bounds = (f" from {least}" if least is not None else "") + (f" to {most}" if most is not None else "")
    return KINDS[field["type"]] + bounds


def plain(value: Any) -> str:
    """As it is written in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(map(plain, value)) + "]" if isinstance(value, list) else f"{value}"
