"""Simulated `select`, `signal`, `os`, `sys`, `random`, and what programs print.

What they promise: `select` on sockets; signals that are masked, awaited (`sigwait`) or handled by the main
thread between two operations; processes that have arguments, an environment and standard output; dice that
are seeded for each process.

What they leave out: poll and epoll, alarms and timers, fork and exec, pipes.
"""

import fcntl as real_fcntl
import os as real_os
import posixpath
import random as real_random
import resource as real_resource
import select as real_select
import signal as real_signal
import sys as real_sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any

from dsjq_lab.sim.calls_of_files import os_calls, path_calls
from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.net import Endpoint
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.std import public, us
from dsjq_lab.sim.std.clock import tick

# -- select


def select(
    readers: Iterable[Any], writers: Iterable[Any], others: Iterable[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    kernel = tick()
    deadline_ns = kernel.deadline(timeout) if timeout else None
    reading = [(thing, endpoint(thing)) for thing in readers]
    writing = [(thing, endpoint(thing)) for thing in writers]
    while True:
        readable = [thing for thing, end in reading if end.readable]
        writable = [thing for thing, end in writing if end.writable] if writing else []
        is_over = timeout == 0 or (deadline_ns is not None and deadline_ns <= kernel.now_ns)
        if readable or writable or is_over:
            return readable, writable, []
        lists = [end.readers for _, end in reading] + [end.writers for _, end in writing]
        kernel.block("select", deadline_ns, *lists)


def endpoint(thing: Any) -> Endpoint:
    number = thing if isinstance(thing, int) else thing.fileno()
    if number < 0:
        raise ValueError("file descriptor cannot be a negative integer (-1)")
    found: Endpoint = us().descriptor(number)
    return found


def select_module() -> dict[str, Any]:
    return {"select": select, "error": OSError, "PIPE_BUF": real_select.PIPE_BUF}


# -- signal


def set_handler(signum: int, handler: Any) -> Any:
    process = us()
    before = process.handlers.get(signum, real_signal.SIG_DFL)
    if handler is real_signal.SIG_IGN:
        process.handlers[signum] = lambda signum, frame: None
    elif handler is real_signal.SIG_DFL:
        process.handlers.pop(signum, None)
    else:
        process.handlers[signum] = handler
    return before


def set_mask(how: int, signals: Iterable[int]) -> set[int]:
    tick()
    process = us()
    before, given = set(process.masked), set(map(int, signals))
    if how == real_signal.SIG_BLOCK:
        process.masked |= given
    elif how == real_signal.SIG_UNBLOCK:
        process.masked -= given
    else:
        process.masked = given
    for signum in sorted(process.pending - process.masked):
        process.pending.remove(signum)
        process.signal(signum)
    return before


def sigwait(signals: Iterable[int]) -> int:
    kernel, process, wanted = tick(), us(), set(map(int, signals))
    while not process.pending & wanted:
        kernel.block("a signal", None, process.signal_waiters)
    signum = min(process.pending & wanted)
    process.pending.remove(signum)
    return signum


def signal_module() -> dict[str, Any]:
    words = {name: value for name, value in vars(real_signal).items() if name.startswith("SIG")}
    return {
        **words,
        "Signals": real_signal.Signals, "Handlers": real_signal.Handlers, "Sigmasks": real_signal.Sigmasks,
        "signal": set_handler, "pthread_sigmask": set_mask, "sigwait": sigwait,
        "getsignal": lambda signum: us().handlers.get(signum, real_signal.SIG_DFL),
        "sigpending": lambda: set(us().pending),
        "raise_signal": lambda signum: kill(us().pid, signum),
        "default_int_handler": real_signal.default_int_handler,
    }  # fmt: skip


# -- os


def kill(pid: int, signum: int) -> None:
    kernel = tick()
    found = [process for process in kernel.processes if process.pid == pid and process.alive]
    if not found:
        raise ProcessLookupError(3, "No such process")
    if signum == real_signal.SIGKILL:
        kernel.end(found[0], -signum)
    elif signum:
        found[0].signal(signum)


def leave(status: int) -> None:
    kernel = tick()
    kernel.end(us(), status)


class Environ(MutableMapping[str, str]):
    """The environment of whoever runs."""

    def __getitem__(self, name: str) -> str:
        return us().environ[name]

    def __setitem__(self, name: str, value: str) -> None:
        us().environ[name] = value

    def __delitem__(self, name: str) -> None:
        del us().environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(us().environ)

    def __len__(self) -> int:
        return len(us().environ)


PATH_CALLS = path_calls()
OS_CALLS = {
    **os_calls(),
    "environ": Environ(),
    "kill": kill,
    "_exit": leave,
    "getpid": lambda: us().pid,
    "getppid": lambda: 1,
    "getuid": lambda: 1000,
    "cpu_count": lambda: 2,
    "urandom": lambda count: us().dice.randbytes(count),
    "getenv": lambda name, default=None: us().environ.get(name, default),
    "sched_yield": lambda: sim().operation() and None,
    "fspath": real_os.fspath, "fsencode": real_os.fsencode, "fsdecode": real_os.fsdecode,
    "strerror": real_os.strerror,
    "PathLike": real_os.PathLike, "error": OSError, "stat_result": real_os.stat_result,
    "name": "posix", "sep": "/", "altsep": None, "linesep": "\n", "curdir": ".", "pardir": "..",
    "devnull": "/dev/null", "pathsep": ":", "extsep": ".",
    **{name: value for name, value in vars(real_os).items() if name.startswith(("O_", "SEEK_", "EX_"))},
}  # fmt: skip
PATH = {**{name: value for name, value in vars(posixpath).items() if not name.startswith("__")}, **PATH_CALLS}


def fcntl_module() -> dict[str, Any]:
    words = {name: value for name, value in vars(real_fcntl).items() if name.startswith("LOCK_")}
    return {**words, "flock": OS_CALLS["flock"]}


def resource_module() -> dict[str, Any]:
    """Limits may be read, and set in vain: nothing is scarce here."""
    limits = (real_resource.RLIM_INFINITY, real_resource.RLIM_INFINITY)
    return {**public(real_resource), "getrlimit": lambda kind: limits, "setrlimit": lambda kind, limits: None}


def gc_module() -> dict[str, Any]:
    """Garbage is collected between the runs, so that no finalizer runs at a moment of its own."""
    calls = ("enable", "disable", "freeze", "unfreeze", "collect")
    return {**dict.fromkeys(calls, lambda *arguments: 0), "isenabled": lambda: False}


# -- sys, and what is printed


class Output:
    """Standard output and standard error are one: they go to the log of the process."""

    encoding, errors, closed, line_buffering = "utf-8", "strict", False, True

    def __init__(self, process: Process) -> None:
        self.process = process
        self.buffer = self

    def write(self, text: Any) -> int:
        sim().operation(self)
        self.process.write(text.decode(errors="replace") if isinstance(text, bytes) else text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1

    def reconfigure(self, **options: Any) -> None:
        pass


class Input:
    """Standard input is empty."""

    closed = False

    def __init__(self) -> None:
        self.buffer = self

    def read(self, count: int = -1) -> str:
        return ""

    readline = read

    def __iter__(self) -> Any:
        return iter(())

    def isatty(self) -> bool:
        return False


def leave_thread(code: object = None) -> None:
    raise SystemExit(code)


PURE_SYS = {
    name: value for name, value in vars(real_sys).items()
    if not name.startswith("_") and name not in ("stdin", "stdout", "stderr", "modules", "argv", "path")
}  # fmt: skip


def sys_module(process: Process) -> dict[str, Any]:
    output = Output(process)
    return {
        **PURE_SYS,
        "argv": process.argv, "stdout": output, "stderr": output, "stdin": Input(),
        "modules": process.modules, "path": [], "exit": leave_thread,
        "settrace": lambda function: None, "setprofile": lambda function: None,
        "__stdout__": output, "__stderr__": output, "_getframe": real_sys._getframe,
        "excepthook": lambda kind, problem, trace: process.complain(sim().current, problem),
    }  # fmt: skip


# -- random


class Random(real_random.Random):
    """Without a seed it takes one from the dice of its process."""

    def __init__(self, x: Any = None) -> None:
        super().__init__(us().dice.random() if x is None else x)


def random_module() -> dict[str, Any]:
    def of_the_process(name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: getattr(us().dice, name)(*arguments, **options)

    names = [name for name in public(real_random) if name.islower() and hasattr(real_random.Random, name)]
    return {**{name: of_the_process(name) for name in names}, "Random": Random, "SystemRandom": Random}
