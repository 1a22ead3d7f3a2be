"""What was handed in: a folder with `broker.cmd`, one line that starts the broker.

    python3 mine.py --port {port}

It is run in a copy of the folder, which is thrown away after each check.
"""

import errno
import os
import shutil
import stat
from pathlib import Path

from dsjq_lab import confine
from dsjq_lab.brokers import Command, Place
from dsjq_lab.errors import UsageError
from dsjq_lab.grading.isolation import Isolation
from dsjq_lab.grading.limits import Limits

FILE = "broker.cmd"
COMMAND_BYTES_MAX = 4096


class Confined(Command):
    """A broker that runs in a folder of its own, with limits, and as somebody else where that is possible."""

    def __init__(self, text: str, folder: Path, isolation: Isolation, limits: Limits) -> None:
        super().__init__(text, folder)
        self.isolation, self.limits = isolation, limits

    def command(self, place: Place) -> list[str]:
        self.isolation.give(place.data)
        return [*self.isolation.command(self.folder, self.limits), *super().command(place)]

    def explorer(self) -> dict[str, str]:
        """Its environment. It begins as the lab, which may read the scenario, and becomes the submission."""
        task = self.isolation.task(self.folder, self.limits)
        return {**confine.environment(str(self.folder), self.isolation.mark), confine.EXPLORED_AS: task}


def command_line(folder: Path) -> str:
    """What `broker.cmd` says; UsageError, in words for the student, if it says nothing useful."""
    try:
        text = beginning(folder / FILE, COMMAND_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"no {FILE} that can be read in the submission: {error}") from None
    if not text or "\n" in text:
        raise UsageError(f"{FILE} should be one line, e.g. python3 mine.py --port {{port}}")
    return text


def beginning(path: Path, bytes_max: int) -> bytes:
    """Of a file that is a stranger's, while we may be root: a link is not followed, nor a pipe waited for.

    OSError if it is no regular file.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(bytes_max)


def copied(folder: Path, to: Path, isolation: Isolation) -> Path:
    """A fresh copy, which belongs to the submission."""
    shutil.rmtree(to, ignore_errors=True)
    try:
        shutil.copytree(folder, to, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    except shutil.Error as error:
        raise UsageError(f"the submission cannot be copied: {error}") from None
    isolation.give(to)
    return to
