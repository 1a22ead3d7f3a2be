"""What the lab's proxy does on the way between a client and the broker (disturbances.py), or to strangers."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.scenario import OnTheWay


class Network(Fault):
    """It has struck when some bytes, or a connection, have met with it."""

    shown_by = "report"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, OnTheWay)
        return lab.disturb(strike.victim.name, strike.fault.verb, strike.fault.options)

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.calm(strike.victim.name)
        return True


class Partition(Network):
    """Nothing gets through between a client and the broker, and neither is told."""


class HalfOpen(Network):
    """The client's end of the connection is gone, and the broker is not told."""


class Latency(Network):
    """What is said arrives later, and not always as much later."""


class Bandwidth(Network):
    """Only so many bytes a second get through."""


class Slice(Network):
    """What was sent as one arrives in pieces."""


class Coalesce(Network):
    """What was sent by itself arrives in one piece with something else."""


class Corrupt(Network):
    """A bit is flipped on the way: what was a command, or a reply, is none."""


class Reset(Network):
    """Both ends are told at once that the connection is no more."""


class Cut(Network):
    """The connection ends in the middle of a line."""


class LoseReply(Network):
    """The command arrives, its answer is lost."""


class SlowReader(Network):
    """A stranger asks the broker much, and reads none of its answers."""


class Storm(Network):
    """Strangers connect and hang up, as fast as they can."""
