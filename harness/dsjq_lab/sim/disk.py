"""A simulated disk: what programs see, what has reached the medium, and what a power cut leaves.

A write goes to memory and is seen by everybody at once. `fsync` of a file brings its bytes to the medium,
`fsync` of a directory its names: those created, removed and renamed. At a power cut each write and each name
that is not there yet is tossed for: it may be lost, it may have arrived, and the first write that is lost may
have arrived in part (a torn write). The death of a process alone loses nothing.

What it promises: `open` in all its modes, and the calls of `os` on descriptors and names, with the errors of
Linux; `flock` without waiting. What it leaves out: permissions, links, mmap, and time stamps.
"""

import errno
import fcntl
import io
import os
import posixpath
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dsjq_lab.shim import Order, Orders
from dsjq_lab.sim.kernel import sim

if TYPE_CHECKING:
    from dsjq_lab.sim.process import Process

FSYNC_NS = 1_000_000


class Toss(Protocol):
    def __call__(self, what: str, outcomes: int) -> int: ...


class Inode:
    """A file, whatever it is called."""

    def __init__(self) -> None:
        self.data = bytearray()  # what programs see
        self.durable = bytearray()  # what is on the medium
        self.writes: list[tuple[int, bytes | None]] = []  # since then: (offset, bytes), or (length, None)
        self.locker: OpenFile | None = None  # who holds its flock

    def write(self, offset: int, data: bytes) -> None:
        _apply(self.data, offset, data)
        self.writes.append((offset, data))

    def truncate(self, length: int) -> None:
        _apply(self.data, length, None)
        self.writes.append((length, None))

    def sync(self) -> None:
        for write in self.writes:
            _apply(self.durable, *write)
        self.writes.clear()

    def lose(self) -> None:
        """A sync failed: what was to be written counts as clean from now on."""
        self.writes.clear()

    def cut_power(self, toss: Toss) -> None:
        for number, (offset, data) in enumerate(self.writes):
            if toss("a write since the last fsync is lost", 2):
                if data and (kept := toss("torn write", 4)):
                    _apply(self.durable, offset, data[: len(data) * kept // 4])
                if toss("the later writes are lost too", 2):
                    break
            else:
                _apply(self.durable, *self.writes[number])
        self.data[:] = self.durable
        self.writes.clear()


def _apply(data: bytearray, offset: int, change: bytes | None) -> None:
    if change is None:
        del data[offset:]
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    if change is not None:
        data[offset : offset + len(change)] = change


class Folder:
    def __init__(self) -> None:
        self.names: dict[str, Inode | Folder] = {}
        self.durable: dict[str, Inode | Folder] = {}

    def sync(self) -> None:
        self.durable = dict(self.names)

    def lose(self) -> None:
        """A sync failed; the names are still to be written."""

    def cut_power(self, toss: Toss) -> None:
        for name in sorted(self.names.keys() | self.durable.keys()):
            before, after = self.durable.get(name), self.names.get(name)
            if before is not after and toss("a name since the last fsync of its folder is lost", 2):
                after = before
            if after is None:
                self.durable.pop(name, None)
            else:
                self.durable[name] = after
        self.names = dict(self.durable)
        for node in self.names.values():
            node.cut_power(toss)


class Disk:
    """A tree of folders. Relative paths begin at `home`."""

    def __init__(self, home: str = "/lab") -> None:
        self.root, self.home = Folder(), home
        self.failing: dict[str, OSError] = {}  # operation ("write", "fsync") -> the error it ends with
        self.watched = "/"  # only there the lab's orders are obeyed
        self.orders = Orders()
        self.length_max: int | None = None  # of the files there, if they may not be longer
        self.good_ns = 0  # when the last good sync of what is watched had returned
        self.on_struck: Callable[[dict[str, int]], object] = lambda value: None
        self.make_folders(home)
        self.make_folders("/tmp")

    def make_folders(self, path: str) -> None:
        folder = self.root
        for name in self.parts(path):
            node = folder.names.setdefault(name, Folder())
            assert isinstance(node, Folder)
            folder.sync()
            folder = node

    def cut_power(self, toss: Toss) -> None:
        self.root.cut_power(toss)

    def parts(self, path: Any) -> list[str]:
        whole = posixpath.normpath(posixpath.join(self.home, os.fspath(path)))
        return [part for part in whole.split("/") if part]

    def find(self, path: Any) -> Inode | Folder:
        node: Inode | Folder = self.root
        for name in self.parts(path):
            if not isinstance(node, Folder):
                raise NotADirectoryError(20, "Not a directory", str(path))
            if name not in node.names:
                raise FileNotFoundError(2, "No such file or directory", str(path))
            node = node.names[name]
        return node

    def folder(self, path: Any) -> Folder:
        node = self.find(path)
        if not isinstance(node, Folder):
            raise NotADirectoryError(20, "Not a directory", str(path))
        return node

    def place(self, path: Any) -> tuple[Folder, str]:
        """The folder in which `path` is or would be, and its name there."""
        parts = self.parts(path)
        if not parts:
            raise IsADirectoryError(21, "Is a directory", str(path))
        return self.folder("/" + "/".join(parts[:-1])), parts[-1]

    def exists(self, path: Any) -> bool:
        try:
            self.find(path)
        except OSError:
            return False
        return True

    def tell_once(self, order: Order) -> None:
        if self.orders.begins(order):
            self.on_struck({})

    def watches(self, path: Any) -> bool:
        return ("/" + "/".join(self.parts(path)) + "/").startswith(self.watched.rstrip("/") + "/")

    def fail_if_told(self, operation: str) -> None:
        if error := self.failing.get(operation):
            raise error


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


class Stat(NamedTuple):
    st_mode: int
    st_size: int
    st_ino: int = 0
    st_mtime: float = 0.0


def status(node: Inode | Folder) -> Stat:
    return Stat(0o040755, 4096) if isinstance(node, Folder) else Stat(0o100644, len(node.data))


def os_calls() -> dict[str, Any]:
    """What `os` offers of files, for the process that runs."""

    def us() -> "Process":
        process = sim().operation().process
        assert process is not None
        return process

    def file(number: int) -> OpenFile:
        found = us().descriptor(number)
        if not isinstance(found, OpenFile):
            raise OSError(22, "Invalid argument")
        return found

    def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: None = None) -> int:
        process = us()
        return process.open(OpenFile(process.disk, path, flags))

    def close(number: int) -> None:
        process = us()
        process.descriptor(number).release()
        process.descriptors.pop(number, None)

    def write(number: int, data: Any) -> int:
        return file(number).write(data)

    def read(number: int, length: int) -> bytes:
        return file(number).read(length)

    def pwrite(number: int, data: Any, offset: int) -> int:
        return file(number).write(data, offset)

    def pread(number: int, length: int, offset: int) -> bytes:
        return file(number).read(length, offset)

    def lseek(number: int, offset: int, whence: int) -> int:
        return file(number).seek(offset, whence)

    def ftruncate(number: int, length: int) -> None:
        file(number).truncate(length)

    def posix_fallocate(number: int, offset: int, length: int) -> None:
        open_file = file(number)
        open_file.disk.fail_if_told("write")
        if offset + length > len(open_file.inode.data):
            if (order := open_file.due("write")) and order.do == "refuse":
                open_file.disk.tell_once(order)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            open_file.truncate(offset + length)

    def fsync(number: int) -> None:
        file(number).sync()

    def replace(source: Any, target: Any) -> None:
        disk = us().disk
        node = disk.find(source)
        folder, name = disk.place(target)
        folder.names[name] = node
        folder, name = disk.place(source)
        del folder.names[name]
        if disk.watches(target) and (order := disk.orders.due("rename")) and order.do == "die":
            die()

    def unlink(path: Any) -> None:
        disk = us().disk
        if isinstance(disk.find(path), Folder):
            raise IsADirectoryError(21, "Is a directory", str(path))
        folder, name = disk.place(path)
        del folder.names[name]

    def mkdir(path: Any, mode: int = 0o777) -> None:
        disk = us().disk
        folder, name = disk.place(path)
        if name in folder.names:
            raise FileExistsError(17, "File exists", str(path))
        folder.names[name] = Folder()

    def makedirs(path: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        disk = us().disk
        if disk.exists(path) and not exist_ok:
            raise FileExistsError(17, "File exists", str(path))
        folder = disk.root
        for name in disk.parts(path):
            node = folder.names.setdefault(name, Folder())
            if not isinstance(node, Folder):
                raise NotADirectoryError(20, "Not a directory", str(path))
            folder = node

    def rmdir(path: Any) -> None:
        disk = us().disk
        if disk.folder(path).names:
            raise OSError(39, "Directory not empty", str(path))
        folder, name = disk.place(path)
        del folder.names[name]

    def listdir(path: Any = ".") -> list[str]:
        return list(us().disk.folder(path).names)

    def stat(path: Any, *, dir_fd: None = None, follow_symlinks: bool = True) -> Stat:
        return status(us().disk.find(path))

    def fstat(number: int) -> Stat:
        return status(file(number).node)

    def flock(number: Any, how: int) -> None:
        file(number if isinstance(number, int) else number.fileno()).lock(how)

    def getcwd() -> str:
        return us().disk.home

    calls = {name: call for name, call in locals().items() if name not in ("us", "file")}
    return {**calls, "rename": replace, "remove": unlink, "fdatasync": fsync, "lstat": stat}


def path_calls() -> dict[str, Any]:
    """What `os.path` asks the disk; the rest of it computes with strings."""

    def disk() -> Disk:
        process = sim().operation().process
        assert process is not None
        return process.disk

    def exists(path: Any) -> bool:
        return disk().exists(path)

    def isfile(path: Any) -> bool:
        found = disk()
        return found.exists(path) and isinstance(found.find(path), Inode)

    def isdir(path: Any) -> bool:
        found = disk()
        return found.exists(path) and isinstance(found.find(path), Folder)

    def getsize(path: Any) -> int:
        return status(disk().find(path)).st_size

    def abspath(path: Any) -> str:
        return "/" + "/".join(disk().parts(path))

    calls = {key: value for key, value in locals().items() if key != "disk"}
    return {**calls, "lexists": exists, "realpath": abspath}
