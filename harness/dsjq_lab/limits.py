"""What a process may use, set by the lab while it runs; and whether it has met with that.

A limit that nobody meets proves nothing. That of descriptors has been met once there is no number left for
another, that of files once one of them is as long as a file may be.
"""

import os
import resource
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from dsjq_lab.errors import LabError


class Limit(ABC):
    """In force from now on. Raises ProcessLookupError if the process has ended."""

    kind: ClassVar[int]

    def __init__(self, pid: int, limit: int) -> None:
        self.pid, self.limit = pid, limit
        _, hard = resource.prlimit(pid, self.kind)
        self.before = resource.prlimit(pid, self.kind, (limit, hard))

    @property
    @abstractmethod
    def met(self) -> bool: ...

    def lift(self) -> None:
        resource.prlimit(self.pid, self.kind, self.before)


class Descriptors(Limit):
    """From `limit` on no descriptor has its number."""

    kind = resource.RLIMIT_NOFILE

    def __init__(self, pid: int, spare: int) -> None:
        used = numbers(pid)
        free = (number for number in range(len(used) + spare) if number not in used)
        super().__init__(pid, max(list(free)[:spare]) + 1)

    @property
    def met(self) -> bool:
        return set(range(self.limit)) <= numbers(self.pid)


class FileSize(Limit):
    """Writing ends at `limit` bytes of any file: `spare` more than the longest has, its logs included.

    The logs are the lab's, and a limit that its own files meet would tell of nothing: that is a LabError.
    """

    kind = resource.RLIMIT_FSIZE

    def __init__(self, pid: int, spare: int, folder: Path, logs: list[Path]) -> None:
        self.folder, self.logs = folder, logs
        super().__init__(pid, max([*lengths(folder), *lengths(*logs)], default=0) + spare)

    @property
    def met(self) -> bool:
        if max(lengths(*self.logs), default=0) >= self.limit:
            raise LabError(f"file_limit: a log of the broker is as long as a file may be: {self.limit} bytes")
        return max(lengths(self.folder), default=0) >= self.limit


def numbers(pid: int) -> set[int]:
    """Of its open descriptors; none if it has ended."""
    try:
        return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return set()


def lengths(*paths: Path) -> Iterator[int]:
    """Of the files there, and of those in the folders there; a name may go meanwhile."""
    for path in paths:
        for file in (path, *path.rglob("*")):
            try:
                if file.is_file():
                    yield file.stat().st_size
            except FileNotFoundError:
                pass
