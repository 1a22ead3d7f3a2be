"""A worker's handler is stuck while its process lives, and goes on renewing its lease if it does so at all.

A heartbeat is not progress: nothing that the broker can see tells this worker from one that works.
"""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab


class Hang(Fault):
    shown_by = "report"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        lab.world.tell(strike.victim.name, "hang")
        return True

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.world.tell(strike.victim.name, "go")
        return True
