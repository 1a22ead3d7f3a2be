"""What the lab's proxy does on the way between a client and the broker (disturbances.py), or to strangers."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.scenario import OnTheWay


class Network(Fault):
    """It has struck when some bytes, or a connection, have met with it."""

    shown_by = "report"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, OnTheWay)
        return lab.world.disturb(strike.victim.name, strike.fault.verb, strike.fault.options)

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.world.calm(strike.victim.name)
        return True
