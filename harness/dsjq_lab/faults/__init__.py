"""One fault, one small class: how it strikes its victim, and how it is healed."""

from dsjq_lab.disturbances import DISTURBANCES
from dsjq_lab.faults.clock_step import ClockStep
from dsjq_lab.faults.damage import BitFlip, TornTail
from dsjq_lab.faults.disk import DiskFull, FsyncError, KillOn, PowerLoss, SlowFsync
from dsjq_lab.faults.fault import Fault, Lab
from dsjq_lab.faults.hang import Hang
from dsjq_lab.faults.kick import Kick
from dsjq_lab.faults.kill import Kill
from dsjq_lab.faults.limits import FdLimit, FileLimit, MemoryLimit
from dsjq_lab.faults.network import Network
from dsjq_lab.faults.pause import Pause
from dsjq_lab.faults.restart import Restart
from dsjq_lab.faults.term import Term
from dsjq_lab.faults.throttle import Throttle

__all__ = ["FAULTS", "Fault", "Lab"]

FAULTS: dict[str, Fault] = {
    "kill": Kill(),
    "term": Term(),
    "restart": Restart(),
    "pause": Pause(),
    "hang": Hang(),
    "throttle": Throttle(),
    "kick": Kick(),
    "kill_on": KillOn(),
    "power_loss": PowerLoss(),
    "fsync_error": FsyncError(),
    "slow_fsync": SlowFsync(),
    "torn_tail": TornTail(),
    "bit_flip": BitFlip(),
    "disk_full": DiskFull(),
    "clock_step": ClockStep(),
    "fd_limit": FdLimit(),
    "file_limit": FileLimit(),
    "memory_limit": MemoryLimit(),
    **{verb: Network() for verb in DISTURBANCES},
}
