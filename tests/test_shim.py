"""What a loss of power leaves, and the lab's orders to a disk: the shim by itself, and around a program."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dsjq_lab import preloaded
from dsjq_lab.orders import Order, Orders
from dsjq_lab.platter import PAGE, Platter, put_back, survivors
from dsjq_lab.shim import CHANNEL

EIO = 5


class Program:
    told: list[dict[str, int]]

    """A Python program with the shim under it, and the lab's end of the line."""

    def __init__(self, tmp_path: Path, text: str, *orders: Order, data: str = "data") -> None:
        self.data, self.platter = tmp_path / data, tmp_path / "platter"
        self.data.mkdir(exist_ok=True)
        file = tmp_path / "program.py"
        file.write_text(f"import os, sys\nos.chdir({str(self.data)!r})\n{text}")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b"".join(order.line().encode() + b"\n" for order in orders))
            self.done = subprocess.run(
                [*preloaded.command(sys.executable, "shim", self.data, self.platter), file, "an argument"],
                env=os.environ | {CHANNEL: str(theirs.fileno())}, pass_fds=[theirs.fileno()],
                capture_output=True, text=True,
            )  # fmt: skip
            theirs.close()
            self.told = []
            with suppress(ConnectionResetError):  # it has left an order unread
                self.told += [json.loads(line)["struck"] for line in ours.makefile()]

    def lose_power(self) -> dict[str, bytes]:
        put_back(str(self.data), str(self.platter))
        return self.files()

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.data.iterdir()}


SYNC_NAMES = "folder = os.open('.', os.O_RDONLY); os.fsync(folder)\n"


def test_a_program_runs_as_it_would_without_it(tmp_path: Path) -> None:
    program = Program(tmp_path, "print(__name__, sys.argv[1:], sys.path[0])")
    assert program.done.stdout == f"__main__ ['an argument'] {tmp_path}\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("f.flush()", {}),
        ("f.flush(); os.fsync(f)", {}),
        ("f.flush(); " + SYNC_NAMES, {"a": b""}),
        ("f.flush(); os.fsync(f.fileno()); f.write('more'); f.flush(); " + SYNC_NAMES, {"a": b"safe"}),
        ("f.flush(); os.fdatasync(f.fileno()); " + SYNC_NAMES, {"a": b"safe"}),
        ("f.flush(); os.fsync(f.fileno()); " + SYNC_NAMES + "os.rename('a', 'b')", {"a": b"safe"}),
        ("f.flush(); os.fsync(f); " + SYNC_NAMES + "os.rename('a', 'b'); os.fsync(folder)", {"b": b"safe"}),
        ("f.flush(); os.fsync(f); " + SYNC_NAMES + "os.unlink('a')", {"a": b"safe"}),
        ("f.flush(); os.fsync(f); " + SYNC_NAMES + "os.unlink('a'); os.fsync(folder)", {}),
    ],
)
def test_only_what_was_synced_survives(text: str, left: dict[str, bytes], tmp_path: Path) -> None:
    program = Program(tmp_path, f"f = open('a', 'w'); f.write('safe'); {text}")
    assert program.done.returncode == 0, program.done.stderr
    assert program.lose_power() == left


def test_a_killed_program_loses_nothing_and_the_next_one_knows_what_was_synced(tmp_path: Path) -> None:
    Program(tmp_path, "f = open('a', 'w'); f.write('safe'); f.flush(); os.fsync(f); " + SYNC_NAMES)
    program = Program(tmp_path, "print(open('a').read()); f = open('a', 'a'); f.write('more')")
    assert program.done.stdout == "safe\n" and program.files() == {"a": b"safemore"}
    assert program.lose_power() == {"a": b"safe"}


def test_a_file_is_not_taken_for_an_older_one_that_had_its_inode(tmp_path: Path) -> None:
    text = "f = open('a', 'w'); f.write('old'); f.flush(); os.fsync(f); f.close(); "
    program = Program(tmp_path, text + SYNC_NAMES + "os.unlink('a'); f = open('b', 'w'); os.fsync(folder)")
    assert program.lose_power() == {"b": b""}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import sqlite3; sqlite3.connect('a')", "SQLite"),
        ("os.open('a', os.O_CREAT | os.O_WRONLY | os.O_DSYNC)", "each write is synced"),
        ("import subprocess; subprocess.run(['true'])", "other processes"),
        ("import mmap; f = open('a', 'wb+'); f.write(b'a'); f.flush(); mmap.mmap(f.fileno(), 1)", "memory"),
        ("import sqlite3; sqlite3.connect(':memory:'); sqlite3.connect('../elsewhere')", ""),
    ],
)
def test_it_says_when_it_does_not_see_all(text: str, why: str, tmp_path: Path) -> None:
    program = Program(tmp_path, text)
    assert program.done.returncode == 0, program.done.stderr
    blind = Platter(str(program.platter)).blind
    assert why in blind and bool(why) == bool(blind)


FSYNCS = """
f = os.open('a', os.O_CREAT | os.O_WRONLY)
def sync(text, size=1):
    os.write(f, text.encode() * size)
    try:
        os.fsync(f)
    except OSError as problem:
        print(text, problem.errno)
"""


def test_the_nth_fsync_fails_and_what_it_was_for_is_never_written(tmp_path: Path) -> None:
    calls = f"{SYNC_NAMES}sync('a', {PAGE}); sync('b', {PAGE}); sync('c', {PAGE})"
    program = Program(tmp_path, FSYNCS + calls, Order("fail", "fsync", 3))
    assert program.done.stdout == f"b {EIO}\n"
    (told,) = program.told
    assert told["covers_from_ns"] < told["failed_ns"]
    assert program.files() == {"a": b"a" * PAGE + b"b" * PAGE + b"c" * PAGE}
    assert program.lose_power() == {"a": b"a" * PAGE + b"\0" * PAGE + b"c" * PAGE}


def test_what_is_written_again_after_a_failed_fsync_is_safe() -> None:
    lost = b"a" * PAGE + b"b" * PAGE
    assert survivors(lost, b"a" * PAGE, lost) == b"a" * PAGE + b"\0" * PAGE
    assert survivors(lost[:-1] + b"c", b"a" * PAGE, lost) == lost[:-1] + b"c"
    assert survivors(lost, b"", b"") == lost


@pytest.mark.parametrize(
    ("order", "left"),
    [
        (Order("die", "fsync", 2), b"onetwo"),
        (Order("die", "write", 2), b"onet"),  # "t" of "two": in the middle
    ],
)
def test_it_is_killed_at_an_exact_moment(order: Order, left: bytes, tmp_path: Path) -> None:
    program = Program(tmp_path, FSYNCS + "sync('one'); sync('two'); sync('three')", order)
    assert program.done.returncode == -9 and program.files() == {"a": left}


def test_it_is_killed_as_soon_as_a_file_is_renamed(tmp_path: Path) -> None:
    program = Program(tmp_path, "open('a', 'w'); os.replace('a', 'b'); print('alive')",
                      Order("die", "rename"))  # fmt: skip
    assert program.done.returncode == -9 and list(program.files()) == ["b"]


def test_a_slow_disk_goes_on_being_slow_until_it_is_healed() -> None:
    orders = Orders()
    orders.give(Order("delay", "fsync", 2, 0.1))
    met = [orders.due("fsync") for _ in range(4)]
    assert [order is not None for order in met] == [False, True, True, True]
    assert met[1] and orders.begins(met[1]) and met[2] and not orders.begins(met[2])
    orders.give(Order("heal"))
    assert orders.due("fsync") is None


def test_orders_to_one_operation_do_not_disturb_another() -> None:
    orders = Orders()
    orders.give(Order("die", "rename", 1))
    orders.give(Order("fail", "fsync", 2))
    assert orders.due("fsync") is None and orders.due("write") is None
    assert orders.due("fsync") == Order("fail", "fsync", 1)
    assert orders.due("rename") == Order("die", "rename", 1)
    assert orders.due("fsync") is None


def test_elsewhere_nothing_is_disturbed(tmp_path: Path) -> None:
    text = "os.chdir('..')\n" + FSYNCS + "sync('one'); print('alive')"
    program = Program(tmp_path, text, Order("die", "fsync"))
    assert program.done.stdout == "alive\n"


FULL = """
f = os.open('a', os.O_CREAT | os.O_RDWR)
os.posix_fallocate(f, 0, 10)
def write(text):
    try:
        print(os.pwrite(f, text, os.lseek(f, 0, os.SEEK_CUR)), end=' ')
        os.lseek(f, len(text), os.SEEK_CUR)
    except OSError as problem:
        print(-problem.errno, end=' ')
"""


def test_on_a_full_disk_there_is_what_was_allocated_and_half_a_write_more(tmp_path: Path) -> None:
    calls = "write(b'12345'); write(b'6789'); write(b'abcdef'); write(b'ghi')"
    program = Program(tmp_path, FULL + calls, Order("refuse", "write", 2))
    assert program.done.stdout == "5 4 3 -28 "  # ENOSPC
    assert program.files() == {"a": b"123456789abc"} and program.told == [{}]


@pytest.mark.parametrize("call", ["os.write(f, bytes(9))", "os.posix_fallocate(f, 0, 9)"])
def test_it_tells_that_no_file_may_be_longer(call: str, tmp_path: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8, -1))\n"
    program = Program(tmp_path, limited + f"f = os.open('a', os.O_WRONLY | os.O_CREAT)\n{call}\n{call}\n")
    assert "File too large" in program.done.stderr and program.told == [{}]


def test_a_full_disk_allocates_nothing(tmp_path: Path) -> None:
    program = Program(tmp_path, "f = os.open('a', os.O_CREAT | os.O_RDWR); os.posix_fallocate(f, 0, 9)",
                      Order("refuse", "write"))  # fmt: skip
    assert "No space left" in program.done.stderr and program.told == [{}]
