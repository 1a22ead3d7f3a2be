"""The broker is killed, and when it is started again its file is not as it was: in the file it wrote last.

A crash may tear the last record, and no broker may mind. Nothing but the disk itself flips a bit in the
middle: that is damage, of which a broker can only say that it is there. In memory a kill leaves nothing.
"""

from abc import abstractmethod

from dsjq_lab.cast import Strike
from dsjq_lab.faults.fault import Lab
from dsjq_lab.faults.kill import Kill
from dsjq_lab.scenario import TornTail as TornTailOptions


class Damage(Kill):
    def why_not(self, lab: Lab, strike: Strike) -> str:
        written = lab.world.newest_file() or not lab.world.is_durable
        return "" if written else "it has written nothing into its folder"

    def strike(self, lab: Lab, strike: Strike) -> bool:
        if not super().strike(lab, strike):
            return False
        if not (newest := lab.world.newest_file()):
            return not lab.world.is_durable
        name, data = newest
        written = len(data.rstrip(b"\0"))  # what follows is room for more
        at, damaged = self.damage(strike, data, written)
        lab.world.overwrite(name, damaged)
        lab.note("lab", "damaged", {"victim": strike.victim.name, "file": name, "at": at, "of": written})
        return True

    @abstractmethod
    def damage(self, strike: Strike, data: bytes, written: int) -> tuple[int, bytes]:
        """Where, and what is then there."""


class TornTail(Damage):
    def damage(self, strike: Strike, data: bytes, written: int) -> tuple[int, bytes]:
        assert isinstance(strike.fault, TornTailOptions)
        at = max(0, written - strike.fault.torn_bytes)
        return at, data[:at]


class BitFlip(Damage):
    def damage(self, strike: Strike, data: bytes, written: int) -> tuple[int, bytes]:
        at = written // 2
        return at, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
