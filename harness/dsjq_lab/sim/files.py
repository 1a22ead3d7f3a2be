"""Files that are open on a simulated disk (disk.py): what a descriptor stands for, and Python's `open`.

Here the lab's orders to the disk are obeyed.
"""

import errno
import fcntl
import io
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dsjq_lab.orders import Order
from dsjq_lab.sim.disk import Disk, Folder, Inode
from dsjq_lab.sim.kernel import sim

if TYPE_CHECKING:
    from dsjq_lab.sim.process import Process

FSYNC_NS = 1_000_000


class OpenFile:
    """What a descriptor stands for: a file or a folder, and a place in it."""

    def __init__(self, disk: Disk, path: Any, flags: int) -> None:
        self.disk, self.flags, self.position = disk, flags, 0
        self.watched = disk.watches(path)
        folder, name = disk.place(path) if disk.parts(path) else (disk.root, "")
        node: Inode | Folder | None = folder.names.get(name) if name else disk.root
        if node is not None and flags & os.O_CREAT and flags & os.O_EXCL:
            raise FileExistsError(17, "File exists", str(path))
        if node is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(2, "No such file or directory", str(path))
            node = folder.names[name] = Inode()
        if isinstance(node, Folder) and flags & (os.O_WRONLY | os.O_RDWR):
            raise IsADirectoryError(21, "Is a directory", str(path))
        if isinstance(node, Inode) and flags & os.O_DIRECTORY:
            raise NotADirectoryError(20, "Not a directory", str(path))
        if isinstance(node, Inode) and flags & os.O_TRUNC and node.data:
            node.truncate(0)
        self.node = node

    @property
    def inode(self) -> Inode:
        if isinstance(self.node, Folder):
            raise IsADirectoryError(21, "Is a directory")
        return self.node

    def read(self, length: int, position: int | None = None) -> bytes:
        if self.flags & os.O_WRONLY:
            raise OSError(9, "Bad file descriptor")
        start = self.position if position is None else position
        data = bytes(self.inode.data[start : start + length])
        if position is None:
            self.position += len(data)
        return data

    def write(self, data: Any, position: int | None = None) -> int:
        if not self.flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(9, "Bad file descriptor")
        self.disk.fail_if_told("write")
        data = bytes(data)
        start = self.position if position is None else position
        if self.flags & os.O_APPEND:
            start = len(self.inode.data)
        order = self.due("write")
        if order and order.do == "die":  # in the middle of it
            self.inode.write(start, data[: len(data) // 2])
            die()
        if order and order.do == "refuse":
            data = self.what_fits(order, start, data)
        data = data[: self.allowed(start, start + len(data)) - start]
        self.inode.write(start, data)
        if position is None:
            self.position = start + len(data)
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        base = (0, self.position, len(self.inode.data))[whence]
        if base + offset < 0:
            raise OSError(22, "Invalid argument")
        self.position = base + offset
        return self.position

    def truncate(self, length: int) -> None:
        if not self.flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(22, "Invalid argument")
        self.inode.truncate(self.allowed(length, length))

    def what_fits(self, order: Order, start: int, data: bytes) -> bytes:
        """On a full disk there is what was allocated before."""
        room = len(self.inode.data) - start
        if room >= len(data):
            return data
        self.disk.tell_once(order)
        fits = max(0, room, self.disk.orders.last_room(data))
        if fits == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return data[:fits]

    def allowed(self, start: int, end: int) -> int:
        """Where that stops which is to be written from `start` to `end`. Raises EFBIG if it cannot begin."""
        limit = self.disk.length_max if self.watched else None
        if limit is None or end <= max(limit, len(self.inode.data)):
            return end
        self.disk.on_struck({"limit": limit})
        if start >= limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return limit

    def due(self, operation: str) -> Order | None:
        return self.disk.orders.due(operation) if self.watched else None

    def sync(self) -> None:
        self.disk.fail_if_told("fsync")
        order, kernel = self.due("fsync"), sim()
        if order and order.do == "delay":
            self.disk.tell_once(order)
        kernel.block("fsync", kernel.now_ns + FSYNC_NS + round(order.seconds * 1e9 if order else 0))
        if order and order.do == "fail":
            self.node.lose()
            self.disk.on_struck({"covers_from_ns": self.disk.good_ns, "failed_ns": kernel.now_ns})
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.node.sync()
        if self.watched:
            self.disk.good_ns = kernel.now_ns
        if order and order.do == "die":
            die()

    def lock(self, how: int) -> None:
        """flock(2): goes when it is closed, or its process ends."""
        if how & fcntl.LOCK_UN:
            self.release()
        elif self.inode.locker not in (None, self):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        else:
            self.inode.locker = self

    def release(self) -> None:
        if isinstance(self.node, Inode) and self.node.locker is self:
            self.node.locker = None


def die() -> None:
    """SIGKILL, to the process that runs."""
    process = sim().current.process
    assert process is not None
    sim().end(process, -signal.SIGKILL)


class RawFile(io.RawIOBase):
    """The bottom of what `open` returns; above it are the layers of Python's own `io`.

    These hold a lock while they call down here, a real one. So nobody else may run meanwhile: what happens in
    a file happens at once, and only its opening and its fsync are operations that may be interrupted.
    """

    def __init__(self, process: "Process", number: int, name: str, mode: str) -> None:
        super().__init__()
        self.process, self.number, self.name, self.mode = process, number, name, mode
        self.opened: OpenFile = process.descriptor(number)

    @property
    def file(self) -> OpenFile:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        file: OpenFile = self.process.descriptor(self.number)
        return file

    def fileno(self) -> int:
        self.file  # noqa: B018  (raises if it is closed)
        return self.number

    def readable(self) -> bool:
        return not self.file.flags & os.O_WRONLY

    def writable(self) -> bool:
        return bool(self.file.flags & (os.O_WRONLY | os.O_RDWR))

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return self.file.write(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.position

    def truncate(self, size: int | None = None) -> int:
        size = self.file.position if size is None else size
        self.file.truncate(size)
        return size

    def close(self) -> None:
        if not self.closed and self.process.alive and self.number in self.process.descriptors:
            del self.process.descriptors[self.number]
            self.opened.release()
        super().close()


FLAGS = {"r": 0, "w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}


def open_file(
    process: "Process",
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[..., int] | None = None,
) -> Any:
    """`open`, on the disk of `process`."""
    kinds = [letter for letter in mode if letter in FLAGS]
    if len(kinds) != 1 or set(mode) - set("rwaxbt+"):
        raise ValueError(f"invalid mode: {mode!r}")
    access = os.O_RDWR if "+" in mode else os.O_RDONLY if kinds[0] == "r" else os.O_WRONLY
    if isinstance(file, int):
        number = file
    elif opener:
        number = opener(file, FLAGS[kinds[0]] | access)
    else:
        number = process.open(OpenFile(process.disk, file, FLAGS[kinds[0]] | access))
        if isinstance(process.descriptor(number).node, Folder):
            del process.descriptors[number]
            raise IsADirectoryError(21, "Is a directory", str(file))
    raw = RawFile(process, number, str(file), mode)
    if kinds[0] == "a":
        raw.seek(0, 2)
    if "b" in mode and buffering == 0:
        return raw
    layer: Any
    if "+" in mode:
        layer = io.BufferedRandom(raw)
    elif kinds[0] == "r":
        layer = io.BufferedReader(raw)
    else:
        layer = io.BufferedWriter(raw)
    if "b" in mode:
        return layer
    return io.TextIOWrapper(layer, encoding or "utf-8", errors, newline, line_buffering=buffering == 1)
