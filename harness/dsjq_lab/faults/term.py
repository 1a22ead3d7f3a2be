"""SIGTERM: the polite way. The process finishes what it has in hand, if it knows how to, and then ends.

One that takes too long is killed, as any supervisor would do it, and the history says so.
"""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Lab
from dsjq_lab.faults.kill import Kill
from dsjq_lab.scenario import Term as TermOptions


class Term(Kill):
    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, TermOptions)
        grace_s = strike.fault.grace_s

        def kill_if_still_there() -> None:
            if strike.phase == "begun":
                lab.note("lab", "escalated", {"victim": strike.victim.name, "after_s": grace_s})
                lab.world.signal(strike.victim.name, "kill")

        lab.later(grace_s, kill_if_still_there)
        return lab.world.signal(strike.victim.name, "term")
