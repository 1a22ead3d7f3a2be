"""What stands between a submission and its grader, and how all that is left of it is found and ended.

As root, each grading lends the submission a user id of its own: then it can neither signal the grader nor
read the hidden files nor write what is not its own, the limit of processes counts its processes alone, and
whatever runs under that id is its. Otherwise it runs as who we are, and `gaps` says what that means. Neither
the network nor the processor is kept from it.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from dsjq_lab import confine
from dsjq_lab.errors import LabError
from dsjq_lab.grading.limits import MIB, Limits
from dsjq_lab.ports import try_lock

UIDS = range(64_200, 64_400)  # among those that systemd keeps for transient use, 61184 to 65519
END_TIMEOUT_S = 20.0
AS_OURSELVES = (
    "The submission ran as the same user as its grader (for more, grade as root): it could have read hidden "
    "files, and signalled or killed the grader; nothing here shows that it did."
)
LITTERED = ("/tmp", "/var/tmp", "/dev/shm")
STACK_BYTES = 2 * MIB  # of each thread: its place counts as private memory, used or not
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    tasks: int  # processes and threads
    private_bytes: int  # resident, and not of a file


class Isolation:
    """How a submission is told apart from us: by a user id that is lent to it, or else by a mark."""

    def __init__(self, uid: int | None, mark: str) -> None:
        self.uid, self.mark = uid, mark

    @classmethod
    @contextmanager
    def lent(cls) -> Iterator[Self]:
        """Of one grading. At its end nothing of the submission is left, and the user id can be lent again."""
        with ExitStack() as stack:
            uid = stack.enter_context(lent_uid()) if is_root() else None
            isolation = cls(uid, secrets.token_hex(16))
            isolation.end_all()  # a grader that was killed may have left somebody behind
            stack.callback(isolation.end_all)
            yield isolation

    def gaps(self) -> list[str]:
        """What is missing, for whoever relies on the score."""
        return [AS_OURSELVES] if self.uid is None else []

    def task(self, folder: Path, limits: Limits) -> str:
        """What confines a process to the folder, for confine.become."""
        tasks = limits.processes + (self.tasks_of_user() if self.uid is None else 0)
        bounds = {
            "RLIMIT_NPROC": tasks, "RLIMIT_FSIZE": limits.file_bytes, "RLIMIT_STACK": STACK_BYTES,
            "RLIMIT_DATA": limits.memory_bytes + limits.processes * STACK_BYTES,
            "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 4096,
        }  # fmt: skip
        return json.dumps({"uid": self.uid, "folder": str(folder), "limits": bounds})

    def command(self, folder: Path, limits: Limits) -> list[str]:
        """What is to stand before the words of a command, so that it is confined to the folder."""
        return [sys.executable, "-I", "-S", confine.__file__, self.task(folder, limits), self.mark]

    def prove(self, folder: Path, limits: Limits) -> None:
        """LabError if not even `true` runs there: that must not look like a broker that does not start."""
        done = subprocess.run([*self.command(folder, limits), "true"], capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"no submission can be confined on this machine: {done.stderr.strip()}")

    def give(self, folder: Path) -> None:
        """Makes the submission the owner of the folder and all that is in it."""
        if self.uid is None:
            return
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, self.uid, self.uid, follow_symlinks=False)
        for parent in folder.parents:
            if parent.stat().st_uid != os.getuid() or parent.stat().st_mode & 0o001:
                break
            parent.chmod(parent.stat().st_mode | 0o001)  # may be passed through, not looked into

    def pids(self) -> Iterator[int]:
        """All processes that are the submission's: by their user, else by their mark."""
        for name in os.listdir("/proc"):
            with suppress(OSError):  # it has ended; or it is another user's
                if name.isdigit() and int(name) != os.getpid() and self.owns(Path("/proc", name)):
                    yield int(name)

    def owns(self, process: Path) -> bool:
        if self.uid is not None:
            return process.stat().st_uid == self.uid
        return f"{confine.MARK}={self.mark}".encode() in (process / "environ").read_bytes().split(b"\0")

    def usage(self) -> Usage:
        tasks = pages = 0
        for pid in self.pids():
            with suppress(OSError, ValueError):
                tasks += len(os.listdir(f"/proc/{pid}/task"))
                _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
                pages += resident - shared
        return Usage(tasks, pages * PAGE_BYTES)

    def tasks_of_user(self) -> int:
        """Of the user who we are: the kernel counts them all towards the limit of any."""
        count = 0
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{name}/task"))
        return count

    def end_all(self) -> None:
        """Returns when nothing of the submission runs any more, or lies in folders of everybody."""
        deadline_s = time.monotonic() + END_TIMEOUT_S
        while left := [pid for pid in self.pids() if not is_zombie(pid)]:
            if self.uid is None:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            else:
                kill_user(self.uid)
            if time.monotonic() > deadline_s:
                raise LabError(f"processes of the submission cannot be ended: {left}")
            time.sleep(0.005)
        if self.uid is not None:
            sweep(self.uid)


def is_root() -> bool:
    return os.getuid() == 0


@contextmanager
def lent_uid() -> Iterator[int | None]:
    """One that nobody else has meanwhile; None if we cannot become another user, though we are root."""
    folder = Path(tempfile.gettempdir()) / "dsjq-lab-uids"
    folder.mkdir(mode=0o700, exist_ok=True)
    for uid in UIDS:
        with (folder / str(uid)).open("w") as lock:
            if try_lock(lock.fileno()):
                yield uid if can_become(uid) else None
                return
    raise LabError(f"all user ids from {UIDS[0]} to {UIDS[-1]} are lent: too many gradings at once")


def can_become(uid: int) -> bool:
    """Not in every container, though we are root there."""
    probe = f"import os; os.setgroups([]); os.setgid({uid}); os.setuid({uid})"
    return subprocess.run([sys.executable, "-I", "-S", "-c", probe], capture_output=True).returncode == 0


def kill_user(uid: int) -> None:
    """All at once, so that no fork bomb is faster: kill(2) with -1 spares only those of others."""
    child = os.fork()
    if child == 0:
        try:
            os.setuid(uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def is_zombie(pid: int) -> bool:
    """It has ended, and only its parent has yet to notice."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"
    return True


def sweep(uid: int) -> None:
    """Files in folders that belong to everybody: they would be found by the next to have this user id."""
    for folder in map(Path, LITTERED):
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(OSError):
                if path.lstat().st_uid == uid:
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink()


def disk_bytes(folder: Path) -> int:
    """What is in a folder, as its owner sees it."""
    total = 0
    for place, folders, files in os.walk(folder):  # unlike rglob it bears with folders that vanish meanwhile
        for name in (*folders, *files):
            with suppress(OSError):
                total += os.lstat(f"{place}/{name}").st_blocks * 512
    return total
