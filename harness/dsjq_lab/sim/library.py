"""What a program finds when it imports what is not its own: the standard library of the explored world.

*Simulated* modules are made here (std/). *Rebuilt* ones are pure Python of the standard library that stands
on simulated modules (queue, socketserver, ...), loaded afresh without points. *Pure* ones neither block, nor
look at clocks, nor do anything outside of their arguments, so the real ones serve. Everything else is
*refused* by name, when it is used: a program may import what it does not need here, such as `ssl` or
`subprocess`.
"""

import ast
import gettext
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn

from dsjq_lab.sim.files import open_file
from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.std import clock, public, sockets, system, threads
from dsjq_lab.sim.tasks import SimError

REBUILT = frozenset({
    "argparse", "pathlib", "pathlib._abc", "pathlib._local", "concurrent", "concurrent.futures",
    "concurrent.futures._base", "concurrent.futures.thread", "queue", "sched", "secrets", "selectors",
    "socketserver", "logging", "logging.handlers", "http", "http.client", "http.server", "uuid", "glob",
})  # fmt: skip
PURE = frozenset({
    "__future__", "_collections_abc", "_weakrefset", "abc", "array", "ast", "base64", "binascii",
    "bisect", "calendar", "codecs", "collections", "contextlib", "contextvars", "copy", "copyreg",
    "csv", "dataclasses", "decimal", "difflib", "email", "encodings", "enum", "errno", "fnmatch",
    "fractions", "functools", "genericpath", "hashlib", "heapq", "hmac", "html", "inspect",
    "ipaddress", "itertools", "json", "keyword", "linecache", "locale", "marshal", "math", "mimetypes",
    "ntpath", "numbers", "operator", "pickle", "platform", "posixpath", "pprint", "re", "reprlib",
    "shlex", "stat", "statistics", "string", "struct", "textwrap", "token", "tokenize", "traceback",
    "types", "typing", "unicodedata", "urllib", "warnings", "weakref", "zlib",
})  # fmt: skip
SHARED = frozenset({"argparse", "pathlib"})  # rebuilt once for all: it takes long, and they remember nothing
MENTIONED = frozenset({"scandir"})  # by glob, when it is loaded: refused when it is called
HERE, LIBRARY = os.path.dirname(__file__), os.path.dirname(os.__file__)
LEFT_OUT = frozenset({"_queue", "_uuid"})  # in C; the module that asks has a twin in Python


class SimUnsupported(SimError, AttributeError):
    """The program uses what this world does not have."""


def refuse(why: str) -> NoReturn:
    """Noted as well: a program may catch what is raised, and then fail for what is no fault of its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame and (is_ours(frame) or is_library(frame)):
        if frame.f_code.co_name == "<module>":  # the library looks what there is, and gets along without
            break
        frame = frame.f_back
    else:
        sim().refused.append(why)
    raise SimUnsupported(why)


def is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(HERE)


def is_library(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(LIBRARY)


class Simulated(ModuleType):
    """A simulated module. What the real one has and this one lacks is refused by name."""

    def __getattr__(self, name: str) -> Any:
        if name in MENTIONED:
            return partial(self._refuse, name)
        if not name.startswith("__") and hasattr(real(self.__name__), name):
            self._refuse(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def _refuse(self, name: str, *arguments: object) -> NoReturn:
        refuse(f"{self.__name__}.{name} is not simulated")


class Sys(ModuleType):
    """The `sys` of whoever runs, for modules that all share."""

    def __getattr__(self, name: str) -> Any:
        process = sim().current.process
        assert process is not None
        if "sys" not in process.modules:
            process.modules["sys"] = self.made(process)
        return getattr(process.modules["sys"], name)

    @staticmethod
    def made(process: Process) -> ModuleType:
        module = Simulated("sys")
        vars(module).update(system.sys_module(process))
        return module


class Refused(ModuleType):
    """Stands for a module that the explored world does not have, until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(f"module {self.__name__!r} is not simulated ({self.__name__}.{name} was used)")


@cache
def real(name: str) -> ModuleType:
    return importlib.import_module(name)


@cache
def rebuilt(path: Path) -> CodeType:
    """Code of the standard library or of the lab, which is not studied, so it has no points."""
    return compile(ast.parse(path.read_bytes(), str(path)), str(path), "exec")


@cache
def installed() -> frozenset[str]:
    """Names of what a program could import here, whether or not this world has it."""
    return frozenset(sys.builtin_module_names) | {module.name for module in pkgutil.iter_modules()}


def read_ahead(lab_files: Iterable[Path]) -> None:
    """All that a program may come to import but its own: for a process that may not read it any longer."""
    installed()
    for path in lab_files:
        rebuilt(path)
    for name in sorted(PURE | REBUILT | MAKERS.keys()):
        with suppress(ImportError):  # of another version or system
            module = real(name)
            for part in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
                with suppress(ImportError):
                    real(part.name)
            if name in REBUILT and module.__spec__ and module.__spec__.origin:
                rebuilt(Path(module.__spec__.origin))


@cache
def simulated(name: str) -> dict[str, Any] | None:
    """What a simulated module contains, but for what is the process's own."""
    if name not in MAKERS:
        return None
    # A function kept as a class attribute (`clock = time.monotonic`) must not turn into a method.
    contents = MAKERS[name]().items()
    return {word: partial(thing) if isinstance(thing, FunctionType) else thing for word, thing in contents}


def plural(singular: str, plural: str, n: int) -> str:
    """There are no translations here; the real one looks for their files at each call."""
    return singular if n == 1 else plural


def open_here(file: Any, *arguments: Any, **options: Any) -> Any:
    process = sim().operation().process
    assert process is not None
    return open_file(process, file, *arguments, **options)


MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    "threading": threads.exports, "_thread": threads.low_level, "socket": sockets.exports,
    "time": clock.time_module, "select": system.select_module, "signal": system.signal_module,
    "os": lambda: system.OS_CALLS, "os.path": lambda: system.PATH, "random": system.random_module,
    "datetime": clock.datetime_module, "atexit": lambda: {"register": lambda function, *args: function},
    "fcntl": system.fcntl_module, "gc": system.gc_module, "resource": system.resource_module,
    "io": lambda: {**public(io), "open": open_here},
    "gettext": lambda: {**public(gettext), "gettext": str, "ngettext": plural},
    "shutil": lambda: {"get_terminal_size": lambda fallback=(80, 24): os.terminal_size(fallback)},
}  # fmt: skip
