"""SIGKILL: the process ends where it stands, and cannot say goodbye."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab


class Kill(Fault):
    shown_by = "exit"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        return lab.world.signal(strike.victim.name, "kill")

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.start(strike.victim.name)
        return False
