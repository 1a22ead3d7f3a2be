"""Between a Python broker and its disk: sees what is made safe there, and does to it what the lab orders.

What a killed process has written is still in the kernel's hands, and the next process reads it as if nothing
had happened: so no kill ever tests whether a broker calls fsync. Only a loss of power does. Therefore a
*platter* is kept beside the broker's folder, with what would survive one: of each file the bytes that its
last fsync found, and each name as the last fsync of its folder found it. To lose power is to kill the broker
and put the platter in the place of the folder (`put_back`); whatever was not synced is then gone, all of it.

It is loaded before the broker, into the same process, and puts itself in the place of functions of `os`:

    python shim.py DATA PLATTER (-m MODULE | FILE) …

What the broker does to its disk in any other way cannot be seen from here. The shim then says so (`blind`),
and the lab accuses nobody. Standard library only, and no import of the lab: it must not change the broker.
"""

import errno
import fcntl
import io
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import ne
from typing import Any, NamedTuple

CHANNEL = "DSJQ_LAB_CHANNEL"  # as in warden.py
PAGE = 4096
OPERATIONS = ("fsync", "write", "rename")


class Order(NamedTuple):
    """What the lab wants to happen, at the nth operation of a kind from now; "refuse" and "delay" go on."""

    do: str  # "die", "fail", "delay", "refuse"; "heal" ends those that go on
    on: str = ""
    nth: int = 1
    seconds: float = 0.0

    def line(self) -> str:
        return json.dumps(self)


class Orders:
    """Those that were given and are not carried out yet."""

    def __init__(self) -> None:
        self.given: list[Order] = []
        self.begun: set[Order] = set()  # of those that go on
        self.has_room = True  # on a disk that is full, for half a write

    def give(self, order: Order) -> None:
        if order.do == "heal":
            self.given, self.begun = [order for order in self.given if order.nth], set()
            self.has_room = True
        else:
            self.given.append(order)

    def last_room(self, data: bytes | memoryview) -> int:
        """How much of the first write that finds a full disk is written: as a rule there is a little room."""
        was_there, self.has_room = self.has_room, False
        return len(data) // 2 if was_there else 0

    def begins(self, order: Order) -> bool:
        """Whether this is the first time that an order which goes on is met."""
        first = order._replace(nth=0) not in self.begun
        self.begun.add(order._replace(nth=0))
        return first

    def due(self, operation: str) -> Order | None:
        """The order that this operation is to meet. One that goes on has an nth of 0 from its first time."""
        for place, order in enumerate(self.given):
            if order.on == operation:
                left = max(0, order.nth - 1)
                goes_on = order.do in ("delay", "refuse")
                self.given[place : place + 1] = [order._replace(nth=left)] if left or goes_on else []
                if not left:
                    return order
        return None


class Platter:
    """A folder with the durable bytes of each file, under a number, and `state.json` about the rest."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.names: dict[str, int] = {}  # those that are durable: path in the data folder -> number of a file
        self.numbers: dict[str, int] = {}  # of the files that there are, by inode
        self.count = 0
        self.blind = ""  # why it does not see all that happens to the folder
        try:
            with open(self.path("state.json")) as file:
                self.__dict__.update(json.load(file))
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)

    def path(self, name: object) -> str:
        return os.path.join(self.folder, str(name))

    def save(self) -> None:
        state = {key: value for key, value in self.__dict__.items() if key != "folder"}
        self.replace("state.json", json.dumps(state).encode())

    def replace(self, name: object, data: bytes) -> None:
        """At once, whenever the process is killed."""
        with open(self.path("new"), "wb") as file:
            file.write(data)
        real_replace(self.path("new"), self.path(name))

    def read(self, name: object) -> bytes:
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def number(self, inode: int) -> int:
        if str(inode) not in self.numbers:
            self.count += 1
            self.numbers[str(inode)] = self.count
            self.save()
        return self.numbers[str(inode)]

    def forget(self, inode: int) -> None:
        """The kernel may give its number to another file."""
        if self.numbers.pop(str(inode), None):
            self.save()

    def keep(self, inode: int, data: bytes) -> None:
        """These bytes of a file are safe; but not those that a failed sync has lost."""
        number = self.number(inode)
        self.replace(number, survivors(data, self.read(number), self.read(f"{number}.lost")))

    def lose(self, inode: int, data: bytes) -> None:
        """A sync failed: what was to be written counts as clean from now on, and is not."""
        self.replace(f"{self.number(inode)}.lost", data)

    def keep_names(self, folder: str, inodes: dict[str, int]) -> None:
        others = {path: number for path, number in self.names.items() if os.path.dirname(path) != folder}
        self.names = others | {path: self.number(inode) for path, inode in inodes.items()}
        self.save()


def survivors(data: bytes, before: bytes, lost: bytes) -> bytes:
    """What a sync makes safe of `data`. A page that is as it was when a sync failed is not written again."""
    kept = bytearray(data)
    for at in range(0, min(len(data), len(lost)), PAGE):
        page = slice(at, at + PAGE)
        if data[page] == lost[page]:
            kept[page] = before[page][: len(data[page])].ljust(len(data[page]), b"\0")
    return bytes(kept)


def put_back(data: str, folder: str) -> int:
    """The power was lost: what is on the platter is all that there is. How many bytes and names are gone."""
    platter = Platter(folder)
    gone = 0
    for parent, _, files in os.walk(data):
        for name in files:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                there = file.read()
            number = platter.names.get(os.path.relpath(path, data))
            kept = platter.read(number) if number else b""
            gone += (number is None) + sum(map(ne, there, kept.ljust(len(there), b"\0")))
            os.unlink(path)
    platter.numbers = {}
    for name, number in platter.names.items():
        path = os.path.join(data, name)
        with open(path, "wb") as file:
            file.write(platter.read(number))
        platter.numbers[str(os.stat(path).st_ino)] = number
        if os.path.exists(platter.path(f"{number}.lost")):
            os.unlink(platter.path(f"{number}.lost"))  # nothing of it is in anybody's memory any more
    platter.save()
    return gone


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


real_replace, real_fallocate = os.replace, os.posix_fallocate


def main(data: str, platter: str, *program: str) -> None:
    Shim(data, platter, socket.socket(fileno=int(os.environ[CHANNEL]))).install()
    if program[0] == "-m":
        sys.argv[:] = program[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = program
        sys.path[0] = os.path.dirname(program[0])
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
