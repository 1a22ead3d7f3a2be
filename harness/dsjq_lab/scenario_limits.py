"""What the broker's machine has too little of, in words: it may use what it does, and a few more."""

from dsjq_lab.scenario_faults import Kill, Pause, TheBroker
from dsjq_lab.scenario_values import AtLeastOne, Memory, Size, key, word


class FdLimit(Pause):
    """A broker that then ends is started again when there are enough."""

    verb = "fd_limit"
    victim: TheBroker = key("fd_limit")
    spare: AtLeastOne = word("how many descriptors it can still open", 1)

    def what(self) -> str:
        return f"leave the broker {self.spare} more file descriptor{'s' * (self.spare > 1)}"


class FileLimit(Pause):
    """A broker that then ends is started again when its files may grow."""

    verb, of_the_disk = "file_limit", True
    victim: TheBroker = key("file_limit")
    spare_bytes: Size = key("spare", "1B", "by which its longest file can still grow")

    def what(self) -> str:
        return f"let no file of the broker grow more than {self.spare_bytes} bytes beyond its longest"


class MemoryLimit(Kill):
    verb = "memory_limit"
    victim: TheBroker = key("memory_limit")
    spare_bytes: Memory = key("spare", says="resident memory beyond what it uses then; more is its end")

    def what(self) -> str:
        return f"kill broker when it uses {self.spare_bytes // 1024} KiB of memory more than then"
