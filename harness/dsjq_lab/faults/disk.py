"""What the lab's shim does to the broker's disk (shim.py), exactly at its nth fsync, write or rename."""

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.faults.kill import Kill
from dsjq_lab.scenario import FsyncError as FsyncErrorOptions
from dsjq_lab.scenario import KillOn as KillOnOptions
from dsjq_lab.scenario import SlowFsync as SlowFsyncOptions
from dsjq_lab.shim import Order


class KillOn(Kill):
    """SIGKILL as soon as it is synced or renamed, and in the middle of a write. What was written stays."""

    def why_not(self, lab: Lab) -> str:
        return lab.disk_unseen()

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, KillOnOptions)
        [(operation, nth)] = strike.fault.on.items()
        lab.order(Order("die", operation, nth))
        return True


class PowerLoss(Kill):
    """SIGKILL, and then only that is left which was synced. In memory there is nothing more to lose."""

    def why_not(self, lab: Lab) -> str:
        return lab.disk_unseen() if lab.is_durable else ""

    def strike(self, lab: Lab, strike: Strike) -> bool:
        killed = super().strike(lab, strike)
        if killed:
            lab.note("lab", "lost_power", {"victim": strike.victim.name, "gone": lab.lose_power()})
        return killed


class FsyncError(Fault):
    """One fsync says EIO. What it was for counts as written, as Linux has it: nobody ever writes it again."""

    shown_by = "report"
    may_end_it = True

    def why_not(self, lab: Lab) -> str:
        return lab.disk_unseen()

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, FsyncErrorOptions)
        lab.order(Order("fail", "fsync", strike.fault.nth))
        return True

    def heal(self, lab: Lab, strike: Strike) -> bool:
        if strike.victim.alive:
            return True
        lab.start(strike.victim.name)
        return False


class SlowFsync(Fault):
    """Each fsync takes longer, as on a disk that is busy or about to die."""

    shown_by = "report"

    def why_not(self, lab: Lab) -> str:
        return lab.disk_unseen()

    def strike(self, lab: Lab, strike: Strike) -> bool:
        assert isinstance(strike.fault, SlowFsyncOptions)
        lab.order(Order("delay", "fsync", 1, strike.fault.by_s))
        return True

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.order(Order("heal"))
        return True


class DiskFull(Fault):
    """No file grows any more: of the first write that would, half is written, and none of the next."""

    shown_by = "report"
    may_end_it = True

    def why_not(self, lab: Lab) -> str:
        return lab.disk_unseen()

    def strike(self, lab: Lab, strike: Strike) -> bool:
        lab.order(Order("refuse", "write"))
        return True

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.order(Order("heal"))
        if strike.victim.alive:
            return True
        lab.start(strike.victim.name)
        return False
