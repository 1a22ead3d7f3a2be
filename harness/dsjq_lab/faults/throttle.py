"""SIGSTOP and SIGCONT in turn, ten times a second: the process is alive, and slow."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Lab
from dsjq_lab.faults.pause import Pause
from dsjq_lab.scenario import Throttle as ThrottleOptions

PERIOD_S = 0.1


class Throttle(Pause):
    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, ThrottleOptions)
        share = strike.fault.share
        stopped = super().strike(lab, strike)

        def run() -> None:
            if strike.phase == "struck":
                lab.world.signal(strike.victim.name, "resume")
                lab.later(PERIOD_S * share, stop)

        def stop() -> None:
            if strike.phase == "struck":
                lab.world.signal(strike.victim.name, "pause")
                lab.later(PERIOD_S * (1 - share), run)

        lab.later(PERIOD_S * (1 - share), run)
        return stopped
