"""SIGSTOP, then SIGCONT: the process hangs. Its connections stay open, and sending to it still succeeds."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab


class Pause(Fault):
    shown_by = "effect"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        return lab.world.signal(strike.victim.name, "pause")

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.world.signal(strike.victim.name, "resume")
        return True
