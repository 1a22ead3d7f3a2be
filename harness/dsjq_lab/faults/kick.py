"""An operator gives all dead jobs another chance. No fault, but a deed that has its moment in the story."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab


class Kick(Fault):
    shown_by = "report"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        lab.world.tell(strike.victim.name, "kick")
        return True

    def heal(self, lab: Lab, strike: Strike) -> bool:
        """What was kicked stays kicked."""
        return True
