"""A simulated disk: what programs see, what has reached the medium, and what a power cut leaves.

A write goes to memory and is seen by everybody at once. `fsync` of a file brings its bytes to the medium,
`fsync` of a directory its names: those created, removed and renamed. At a power cut each write and each name
that is not there yet is tossed for: it may be lost, it may have arrived, and the first write that is lost may
have arrived in part (a torn write). The death of a process alone loses nothing.

What it promises: `open` in all its modes, and the calls of `os` on descriptors and names, with the errors of
Linux; `flock` without waiting. What it leaves out: permissions, links, mmap, and time stamps.
"""

import os
import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from dsjq_lab.orders import Order, Orders

if TYPE_CHECKING:
    from dsjq_lab.sim.files import OpenFile


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
