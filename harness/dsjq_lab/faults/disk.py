"""What the lab does to the broker's disk, at its nth fsync, write or rename from now (shim.py, strace.py)."""

from abc import abstractmethod

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.faults.kill import Kill
from dsjq_lab.orders import Order
from dsjq_lab.scenario import FsyncError as FsyncErrorOptions
from dsjq_lab.scenario import KillOn as KillOnOptions
from dsjq_lab.scenario import SlowFsync as SlowFsyncOptions


class Ordered(Fault):
    @abstractmethod
    def order(self, strike: Strike) -> Order: ...

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return lab.world.why_no_order(self.order(strike))

    def strike(self, lab: Lab, strike: Strike) -> bool:
        return lab.world.order(self.order(strike))


class KillOn(Ordered, Kill):
    """SIGKILL as soon as it is synced or renamed, and in the middle of a write. What was written stays.

    Of a broker that keeps its jobs in memory nothing does, and it has no such moments: it is killed at once.
    """

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return super().why_not(lab, strike) if lab.world.is_durable else ""

    def strike(self, lab: Lab, strike: Strike) -> bool:
        return super().strike(lab, strike) if lab.world.is_durable else Kill.strike(self, lab, strike)

    def order(self, strike: Strike) -> Order:
        assert isinstance(strike.fault, KillOnOptions)
        [(operation, nth)] = strike.fault.on.items()
        return Order("die", operation, nth)


class PowerLoss(Kill):
    """SIGKILL, and then only that is left which was synced. In memory there is nothing more to lose."""

    def why_not(self, lab: Lab, strike: Strike) -> str:
        return lab.world.disk_unseen() if lab.world.is_durable else ""

    def strike(self, lab: Lab, strike: Strike) -> bool:
        killed = super().strike(lab, strike)
        if killed:
            lab.note("lab", "lost_power", {"victim": strike.victim.name, "gone": lab.world.lose_power()})
        return killed


class FsyncError(Ordered):
    """One fsync says EIO. What it was for counts as written, as Linux has it: nobody ever writes it again."""

    shown_by = "report"
    may_end_it = True

    def order(self, strike: Strike) -> Order:
        assert isinstance(strike.fault, FsyncErrorOptions)
        return Order("fail", "fsync", strike.fault.nth)

    def heal(self, lab: Lab, strike: Strike) -> bool:
        if strike.victim.alive:
            return True
        lab.start(strike.victim.name)
        return False


class SlowFsync(Ordered):
    """Each fsync takes longer, as on a disk that is busy or about to die."""

    shown_by = "report"

    def order(self, strike: Strike) -> Order:
        assert isinstance(strike.fault, SlowFsyncOptions)
        return Order("delay", "fsync", 1, strike.fault.by_s)

    def heal(self, lab: Lab, strike: Strike) -> bool:
        return lab.world.order(Order("heal"))


class DiskFull(Ordered):
    """No file grows any more: of the first write that would, half is written, and none of the next."""

    shown_by = "report"
    may_end_it = True

    def order(self, strike: Strike) -> Order:
        return Order("refuse", "write")

    def heal(self, lab: Lab, strike: Strike) -> bool:
        lab.world.order(Order("heal"))
        if strike.victim.alive:
            return True
        lab.start(strike.victim.name)
        return False
