"""A data folder: whose it is, which names in it are safe, and what time it was there."""
import fcntl
import os
import time
from pathlib import Path
from typing import IO

from ..store import Unusable


def take(folder: Path) -> IO[str]:
    """Make the folder ours alone, until the returned file is closed or the process ends, however it does."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # payloads may be secret
    sync_names(folder.parent)
    lock = (folder / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Unusable(f"{folder} belongs to another broker that is running") from None
    return lock


def sync_names(folder: Path) -> None:
    """A file that was created or renamed is safe when the folder that names it is."""
    file = os.open(folder, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def this_boot() -> str:
    """Names the time since the machine started; empty where nobody knows."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def clock_since(boot: str, clock_s: float) -> float:
    """What added to the monotonic clock continues it, from a `boot` when that was `clock_s`.

    The wall clock is asked only if the machine was started since: whoever sets it moves no deadline.
    """
    return clock_s if boot and boot == this_boot() else time.time() - time.monotonic()
