"""A port is safe to use when nobody else can be given it: neither by the kernel nor by another lab.

Outgoing connections take their ports from the ephemeral range. A broker's port inside that range can be lost
to any client while the broker is down; worse, a client that keeps trying a dead port may be given that very
port and connect to itself. So the lab stays below the range, and labs share it by lock files: flock(2) locks
vanish with the process that holds them, so a killed lab leaves nothing to clean up.
"""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Self

from dsjq_lab.errors import LabError

FIRST_PORT = 20_000  # below it live well-known services


class PortLease:
    """A TCP port, `port`, that only this lab uses until `close`, or until the lab dies."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir()) / f"dsjq-lab-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        ports = range(FIRST_PORT, ephemeral_start())
        for step in range(len(ports)):
            # Neighbouring process ids start far apart, so that labs seldom walk over each other's ports.
            self.port = ports[(os.getpid() * 97 + step) % len(ports)]
            # Never unlinked: one lab could lock the removed file and another its successor.
            self._lock = os.open(folder / str(self.port), os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(self._lock) and can_bind(self.port):
                return
            self.close()
        raise LabError(f"no free port from {FIRST_PORT} up to the ephemeral range at {ephemeral_start()}")

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def ephemeral_start() -> int:
    """The first port that the kernel may give to an outgoing connection."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except FileNotFoundError:
        return 32_768  # Linux's default, and below that of macOS (49152)


def try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def can_bind(port: int) -> bool:
    """Without SO_REUSEADDR: a port that still remembers old connections is not free."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
