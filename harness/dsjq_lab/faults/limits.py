"""The broker is short of something that its machine gives it: descriptors, long files, memory (limits.py)."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.faults.kill import Kill
from dsjq_lab.scenario_limits import FdLimit as FdLimitOptions
from dsjq_lab.scenario_limits import FileLimit as FileLimitOptions
from dsjq_lab.scenario_limits import MemoryLimit as MemoryLimitOptions
from dsjq_lab.world import IN_MEMORY


class Limit(Fault):
    """It has bitten once the broker has met with it."""

    shown_by = "report"
    may_end_it = True

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return lab.world.unlimitable()

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.world.lift_limit()
        if strike.victim.alive:
            return True
        lab.start(strike.victim.name)
        return False


class FdLimit(Limit):
    """It has no number left for another descriptor."""

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, FdLimitOptions)
        return lab.world.limit_descriptors(strike.fault.spare)


class FileLimit(Limit):
    """It has a file that is as long as a file may be, or was refused to write one that is longer."""

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return super().why_not(lab, strike) if lab.world.is_durable else IN_MEMORY

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, FileLimitOptions)
        return lab.world.limit_files(strike.fault.spare_bytes)


class MemoryLimit(Kill):
    """It has bitten once the broker used more, and was killed for that."""

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return lab.world.unlimitable()

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, MemoryLimitOptions)
        return lab.world.limit_memory(strike.fault.spare_bytes)
