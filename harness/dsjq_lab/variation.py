"""How one run departs from its scenario file. The header keeps it, so that the judge departs alike.

The file in a run folder stays as it was written. Whoever loads it for that run, to judge it or to play it
again, applies the same variation.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dsjq_lab.history import Header

if TYPE_CHECKING:
    from dsjq_lab.scenario import Scenario


class Variation(NamedTuple):
    changes: tuple[str, ...] = ()  # "load.jobs=5"
    without_faults: bool = False  # as a control: nothing is done to anybody, so nothing may be violated
    time_scale: float = 1.0  # for a slow machine: all times are this much longer

    @classmethod
    def of(cls, header: Header) -> Self:
        options = header.options
        return cls(
            tuple(options.get("set", ())),
            options.get("without_faults", False),
            options.get("time_scale", 1.0),
        )

    def then(self, later: "Variation") -> "Variation":
        """What a second run departs from the first in, on top of what that one did."""
        return Variation(
            self.changes + later.changes,
            self.without_faults or later.without_faults,
            self.time_scale if later.time_scale == 1 else later.time_scale,
        )

    def options(self) -> dict[str, Any]:
        """For the header: only what departs from the file."""
        departures: dict[str, Any] = {}
        if self.changes:
            departures["set"] = list(self.changes)
        if self.without_faults:
            departures["without_faults"] = True
        if self.time_scale != 1:
            departures["time_scale"] = self.time_scale
        return departures

    def words(self) -> list[str]:
        """For a heading."""
        scale = [f"times x {self.time_scale:g}"] if self.time_scale != 1 else []
        return [*self.changes, *["without faults"] * self.without_faults, *scale]

    def load(self, path: Path) -> "Scenario":
        """Raises ScenarioErrors, also for changes that do not fit the file."""
        from dsjq_lab import scenario

        return scenario.varied(
            scenario.load(path, changes=self.changes),
            without_faults=self.without_faults,
            time_scale=self.time_scale,
        )


AS_WRITTEN = Variation()
