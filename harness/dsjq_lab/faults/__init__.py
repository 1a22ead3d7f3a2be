"""One fault, one small class: how it strikes its victim, and how it is healed.

To strike is to ask the world for something; it counts as struck only when it was seen to have taken effect. A
fault that ends its victim is healed by starting it again, unless the scenario lets it rest for good.
"""

from typing import Protocol

from dsjq_lab.faults.kill import Kill
from dsjq_lab.faults.pause import Pause
from dsjq_lab.faults.restart import Restart
from dsjq_lab.faults.term import Term
from dsjq_lab.world import World


class Fault(Protocol):
    ends_process: bool  # the victim exits, and that is when the fault has struck; to heal is to spawn again

    def strike(self, world: World, victim: str) -> bool:
        """Whether it was seen to have taken effect; if the process ends, its Exit tells."""

    def heal(self, world: World, victim: str) -> None:
        """Undoes what a new start does not."""


FAULTS: dict[str, Fault] = {"kill": Kill(), "term": Term(), "pause": Pause(), "restart": Restart()}
