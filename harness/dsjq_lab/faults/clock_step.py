"""Somebody sets the wall clock of the broker's machine. Its monotonic clock goes on as before."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.scenario import ClockStep as ClockStepOptions


class ClockStep(Fault):
    shown_by = "effect"

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return lab.world.clock_unreachable()

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, ClockStepOptions)
        lab.world.step_clock(strike.fault.by_s)
        return True

    def heal(self, lab: Lab, strike: Strike) -> bool:
        """It is over at once: the clock is what it is now."""
        return True
