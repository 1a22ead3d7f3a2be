"""Between a Python broker and its disk: sees what is made safe there, and does to it what the lab orders.

It is loaded before the broker, into the same process (preloaded.py), and stands in for functions of `os`.
What would survive a loss of power it keeps on a platter (platter.py).

What the broker does to its disk in any other way cannot be seen from here. The shim then says so (`blind`),
and the lab accuses nobody. Standard library only: it must not change the broker.
"""

import errno
import fcntl
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dsjq_lab.orders import Order, Orders
from dsjq_lab.platter import Platter

CHANNEL = "DSJQ_LAB_CHANNEL"  # as in warden.py


class Shim:
    def __init__(self, data: str, platter: str, channel: socket.socket) -> None:
        self.data, self.platter, self.channel = os.path.realpath(data), Platter(platter), channel
        self.rest = b""
        self.orders = Orders()
        self.lock = threading.RLock()  # around orders and platter
        self.syncing = threading.Lock()  # one sync at a time, so that none overtakes another on the platter
        self.good_ns = time.monotonic_ns()  # when the last good sync had returned

    def install(self) -> None:
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self.seen_sync(getattr(os, name)))
        for name in ("write", "pwrite"):
            setattr(os, name, self.seen_write(getattr(os, name)))
        for name in ("rename", "replace", "unlink", "remove"):
            setattr(os, name, self.seen_change(name, getattr(os, name)))
        os.posix_fallocate = self.fallocate
        sys.addaudithook(self.audit)

    # -- What it sees

    def path_of(self, file: int) -> str | None:
        """What is open, from the data folder on ("." is the folder itself); None: it lies elsewhere."""
        try:
            path = os.readlink(f"/proc/self/fd/{file}").removesuffix(" (deleted)")
        except OSError:
            return None  # the real call knows what is wrong with it
        return os.path.relpath(path, self.data) if self.holds(path) else None

    def holds(self, path: str) -> bool:
        return path == self.data or path.startswith(self.data + os.sep)

    def audit(self, event: str, values: tuple[Any, ...]) -> None:
        """What is done to the folder in other ways than through the functions below."""
        if event == "open" and values[2] & (os.O_DSYNC | os.O_SYNC) and self.is_inside(values[0]):
            self.see_nothing("it opens files so that each write is synced")
        elif event == "sqlite3.connect" and values[0] not in ("", ":memory:") and self.is_inside(values[0]):
            self.see_nothing("SQLite works on its files in C, unseen by the lab (--set broker.store=journal)")
        elif event == "mmap.__new__" and self.path_of(values[0]) is not None:
            self.see_nothing("it maps a file into its memory")
        elif event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
            self.see_nothing("it starts other processes, which may write there too")

    def is_inside(self, path: Any) -> bool:
        return isinstance(path, str | bytes | os.PathLike) and self.holds(os.path.realpath(os.fsdecode(path)))

    def see_nothing(self, why: str) -> None:
        with self.lock:
            if not self.platter.blind:
                self.platter.blind = why
                self.platter.save()

    # -- What it stands in for

    def seen_sync(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def seen(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            path = self.path_of(number)
            if path is None:
                sync(number)
                return
            order = self.due("fsync")
            if order and order.do == "delay":
                self.tell_once(order)
                time.sleep(order.seconds)
            with self.syncing:
                self.sync(number, path, sync, fails=order is not None and order.do == "fail")
            if order and order.do == "die":
                die()

        return seen

    def sync(self, file: int, path: str, sync: Callable[[int], None], *, fails: bool) -> None:
        inode = os.fstat(file).st_ino
        is_folder = os.path.isdir(f"/proc/self/fd/{file}")
        data = b"" if is_folder else contents(file)
        if fails:
            with self.lock:
                self.platter.lose(inode, data)
                self.tell(covers_from_ns=self.good_ns, failed_ns=time.monotonic_ns())
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(file)
        with self.lock:
            if is_folder:
                folder = "" if path == "." else path
                self.platter.keep_names(folder, self.inodes_in(folder))
            else:
                self.platter.keep(inode, data)
            self.good_ns = time.monotonic_ns()

    def inodes_in(self, folder: str) -> dict[str, int]:
        with os.scandir(os.path.join(self.data, folder)) as found:
            return {os.path.join(folder, entry.name): entry.inode() for entry in found if entry.is_file()}

    def seen_write(self, write: Callable[..., int]) -> Callable[..., int]:
        def seen(file: int, data: Any, *offset: int) -> int:
            if self.path_of(file) is None or not (order := self.due("write")):
                with self.seen_refusal():
                    return write(file, data, *offset)
            whole = memoryview(data).cast("B")
            if order.do == "die":  # in the middle of it
                write(file, whole[: len(whole) // 2], *offset)
                die()
            size, at = os.fstat(file).st_size, offset[0] if offset else os.lseek(file, 0, os.SEEK_CUR)
            appends = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND
            room = 0 if appends else size - at  # what was allocated before is there
            if room >= len(whole):
                return write(file, data, *offset)
            self.tell_once(order)
            fits = max(0, room, self.orders.last_room(whole))
            if fits == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(file, whole[:fits], *offset)

        return seen

    def fallocate(self, file: int, offset: int, length: int) -> None:
        order = self.due("write") if self.path_of(file) is not None else None
        if order and order.do == "refuse" and offset + length > os.fstat(file).st_size:
            self.tell_once(order)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with self.seen_refusal():
            real_fallocate(file, offset, length)

    @contextmanager
    def seen_refusal(self) -> Iterator[None]:
        """The system limits the length of its files (limits.py), and nobody outside may see that it did."""
        try:
            yield
        except OSError as problem:
            if problem.errno == errno.EFBIG:
                self.tell()
            raise

    def seen_change(self, name: str, change: Callable[..., None]) -> Callable[..., None]:
        """Of a name: what it meant before is gone."""

        def seen(*paths: Any, **where: Any) -> None:
            if where or not self.is_inside(paths[-1]):
                change(*paths, **where)
                return
            order = self.due("rename") if name in ("rename", "replace") else None
            with self.lock:
                before = os.stat(paths[-1]).st_ino if os.path.exists(paths[-1]) else 0
                change(*paths)
                self.platter.forget(before)
            if order and order.do == "die":
                die()

        return seen

    # -- The lab

    def due(self, operation: str) -> Order | None:
        with self.lock:
            try:
                while data := self.channel.recv(4096, socket.MSG_DONTWAIT):
                    *lines, self.rest = (self.rest + data).split(b"\n")
                    for line in lines:
                        self.orders.give(Order(*json.loads(line)))
            except BlockingIOError:
                pass  # that was all
            return self.orders.due(operation)

    def tell(self, **what: object) -> None:
        self.channel.sendall(json.dumps({"struck": what}).encode() + b"\n")

    def tell_once(self, order: Order) -> None:
        with self.lock:
            if self.orders.begins(order):
                self.tell()


def contents(file: int) -> bytes:
    """Whatever it is open for, and whatever it is called by now."""
    with io.open(f"/proc/self/fd/{file}", "rb") as again:  # noqa: UP020
        return again.read()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


real_fallocate = os.posix_fallocate


def install(data: str, platter: str) -> None:
    Shim(data, platter, socket.socket(fileno=int(os.environ[CHANNEL]))).install()
