"""All verbs of a scenario file. The verb of an entry is what decides which other words it may have."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Tag

from dsjq_lab import scenario_faults, scenario_network
from dsjq_lab.scenario_faults import Deed

VERBS: dict[str, type[Deed]] = {
    kind.verb: kind
    for module in (scenario_faults, scenario_network)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Deed) and "verb" in vars(kind)
}


def verb_of(entry: Any) -> str | None:
    return next((word for word in entry if word in VERBS), None) if isinstance(entry, dict) else None


if TYPE_CHECKING:
    AnyDeed = Deed
else:
    each = (Annotated[kind, Tag(verb)] for verb, kind in VERBS.items())
    AnyDeed = Annotated[reduce(or_, each), Discriminator(verb_of)]
