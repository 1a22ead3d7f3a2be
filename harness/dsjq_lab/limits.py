"""What a process may use, set by the lab while it runs; and whether it has met with that.

A limit that nobody meets proves nothing. It has been met once there is no number left for another descriptor.
"""

import os
import resource
from typing import NamedTuple


class Descriptors(NamedTuple):
    """From `RLIMIT_NOFILE` on no descriptor has its number. `before` is what it was: soft and hard."""

    pid: int
    limit: int
    before: tuple[int, int]

    @classmethod
    def impose(cls, pid: int, spare: int) -> "Descriptors":
        """Raises ProcessLookupError if it has ended, PermissionError if it is not ours."""
        used = numbers(pid)
        free = (number for number in range(len(used) + spare) if number not in used)
        limit = max(list(free)[:spare]) + 1
        return cls(pid, limit, resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard_limit(pid))))

    @property
    def met(self) -> bool:
        return set(range(self.limit)) <= numbers(self.pid)

    def lift(self) -> None:
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.before)


def numbers(pid: int) -> set[int]:
    """Of its open descriptors; none if it has ended."""
    try:
        return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return set()


def hard_limit(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
