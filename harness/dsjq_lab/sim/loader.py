"""Loads the code under study, unmodified, into a simulated process: every `import` of it comes here.

A module is one of five kinds. *Studied*: the broker's, or a student's; it gets its points (points.py), and
every process gets a fresh copy, since a process's memory is its own. *Simulated*: made here (std/).
*Rebuilt*: pure Python of the standard library that stands on simulated modules (queue, socketserver, ...),
loaded afresh without points. *Pure*: it neither blocks, nor looks at clocks, nor does anything outside of
its arguments, so the real one serves. Everything else is *refused* by name, when it is used: a program may
import what it does not need here, such as `ssl` or `subprocess`.

No real module is changed. The copies differ from the originals in their `__builtins__` alone.
"""

import ast
import builtins
import dis
import gettext
import importlib.util
import io
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple, NoReturn

from dsjq_lab.sim.countdown import point
from dsjq_lab.sim.files import open_file
from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.points import POINT, SEEN, instrument, lines_with_points
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.std import sockets, system, threads
from dsjq_lab.sim.tasks import Place, SimError

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
LIBRARY = os.path.dirname(os.__file__)
LEFT_OUT = frozenset({"_queue", "_uuid"})  # in C; the module that asks has a twin in Python


class SimUnsupported(SimError, AttributeError):
    """The program uses what this world does not have."""


def refuse(why: str) -> NoReturn:
    """Noted as well: a program may catch what is raised, and then fail for what is no fault of its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame and (frame.f_code.co_filename == __file__ or is_library(frame)):
        if frame.f_code.co_name == "<module>":  # the library looks what there is, and gets along without
            break
        frame = frame.f_back
    else:
        sim().refused.append(why)
    raise SimUnsupported(why)


def is_library(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(LIBRARY)


class Simulated(ModuleType):
    """A simulated module. What the real one has and this one lacks is refused by name."""

    def __getattr__(self, name: str) -> Any:
        if name in MENTIONED:
            return partial(self._refuse, name)
        if not name.startswith("__") and hasattr(_real(self.__name__), name):
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
def _real(name: str) -> ModuleType:
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
            module = _real(name)
            for part in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
                with suppress(ImportError):
                    _real(part.name)
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
    "time": system.time_module, "select": system.select_module, "signal": system.signal_module,
    "os": lambda: system.OS_CALLS, "os.path": lambda: system.PATH, "random": system.random_module,
    "datetime": system.datetime_module, "atexit": lambda: {"register": lambda function, *args: function},
    "fcntl": system.fcntl_module, "gc": system.gc_module, "resource": system.resource_module,
    "io": lambda: {**system.public(io), "open": open_here},
    "gettext": lambda: {**system.public(gettext), "gettext": str, "ngettext": plural},
    "shutil": lambda: {"get_terminal_size": lambda fallback=(80, 24): os.terminal_size(fallback)},
}  # fmt: skip


def report_access(owner: object, name: str, writes: bool, place: str) -> None:
    if watcher := sim().watcher:
        watcher.access(owner, name, writes, place)


class Loader:
    """`roots` are the folders in which studied modules are found; `accesses` is for detectors.py."""

    def __init__(self, roots: Sequence[Path], *, accesses: bool = False) -> None:
        self.roots, self.accesses = [root.resolve() for root in roots], accesses
        self.codes: dict[Path, CodeType] = {}
        self.points: set[Place] = set()  # of all code that was loaded
        self.places: dict[str, tuple[Path, bool] | None] = {}
        self.shared: dict[str, ModuleType] = {}  # studied, but without any state: one copy serves all
        self.records: dict[Place, type] = {}  # named tuples, which have no state either
        self.builtins = {**vars(builtins), **self._builtins()}

    # -- Running

    def run(self, process: Process, path: Path | None, module: str | None) -> None:
        """What `python PATH` or `python -m MODULE` does, in the process that is running."""
        if module is not None:
            package = self._find(module)
            if package is None:
                raise SimUnsupported(f"no module {module!r} among the studied")
            if package[0].name == "__init__.py":
                self._load(process, module)
                module += ".__main__"
            place = self._find(module)
            assert place is not None, module
            path = place[0]
        assert path is not None
        self._execute(process, "__main__", path, (module or "").rpartition(".")[0])

    def lab_module(self, process: Process, path: Path) -> Any:
        """A module of the lab itself, which is trusted to keep nothing: one copy, without points."""
        name = path.stem
        if name not in self.shared:
            self.shared[name] = self._execute(process, name, path, "", studied=False)
            vars(self.shared[name]).update(sys=Sys("sys"))
        return self.shared[name]

    # -- Finding

    def _find(self, name: str) -> tuple[Path, bool] | None:
        """(its file, whether it is studied), for a module that is loaded from its source."""
        if name not in self.places:
            self.places[name] = self._look_for(name)
        return self.places[name]

    def _look_for(self, name: str) -> tuple[Path, bool] | None:
        relative = Path(*name.split("."))
        for root in self.roots:
            for path in (root / relative.with_suffix(".py"), root / relative / "__init__.py"):
                if os.path.isfile(path):  # Path.is_file raises where it may not look
                    return path, True
        if name in REBUILT:
            specification = importlib.util.find_spec(name)
            if specification and specification.origin:
                return Path(specification.origin), False
        return None

    def code(self, path: Path, studied: bool) -> CodeType:
        if not studied:
            return rebuilt(path)
        if path not in self.codes:
            tree = ast.parse(path.read_bytes(), str(path))
            instrument(tree, path.name, accesses=self.accesses)
            self.points |= {(str(path), line) for line in lines_with_points(tree)}
            self.codes[path] = compile(tree, str(path), "exec")
        return self.codes[path]

    # -- Loading

    def _load(self, process: Process, name: str) -> ModuleType:
        module = process.modules.get(name)
        if module is None:
            module = process.modules[name] = self._new(process, name)
            parent, _, leaf = name.rpartition(".")
            if parent in process.modules:
                setattr(process.modules[parent], leaf, module)
        return module

    def _new(self, process: Process, name: str) -> ModuleType:
        if name == "sys":
            return Sys.made(process)
        if (contents := simulated(name)) is not None:
            module = Simulated(name)
            vars(module).update(contents)
            if name == "os":
                vars(module).update(path=self._load(process, "os.path"))
            return module
        if place := self._find(name):
            return self._from_source(process, name, *place)
        top = name.partition(".")[0]
        if name in LEFT_OUT:
            raise ImportError(f"no module {name!r} in the explored world")
        if top in PURE or (name in sys.builtin_module_names and name.startswith("_")):
            return _real(name)
        if top not in installed() and importlib.util.find_spec(top) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return Refused(name)

    def _from_source(self, process: Process, name: str, path: Path, studied: bool) -> ModuleType:
        if name in self.shared:
            return self.shared[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        module = self._execute(process, name, path, package, studied)
        if "_sys" in vars(module):
            vars(module).update(_sys=Sys("sys"))
        is_package = package == name  # then what is loaded of it becomes an attribute: of one process only
        if name in SHARED or (studied and not is_package and is_stateless(module)):
            self.shared[name] = module
        return module

    def _execute(
        self, process: Process, name: str, path: Path, package: str, studied: bool = True
    ) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(__file__=str(path), __package__=package, __builtins__=self.builtins)
        if path.name == "__init__.py":
            vars(module).update(__path__=[str(path.parent)])
        process.modules[name] = module
        try:
            exec(self.code(path, studied), vars(module))
        except BaseException:
            process.modules.pop(name, None)
            raise
        return module

    def record(self, body: FunctionType, name: str) -> type:
        """A named tuple without methods: made once, since that takes long, and then shared by all."""
        code = body.__code__
        source = code.co_filename, code.co_firstlineno
        if source not in self.records:
            self.records[source] = builtins.__build_class__(body, name, NamedTuple)
        return self.records[source]

    # -- What the copies have instead of the real builtins

    def _builtins(self) -> dict[str, Any]:
        def us() -> Process:
            process = sim().current.process
            assert process is not None
            return process

        def __import__(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            process = us()
            if level:
                base = str((globals or {})["__package__"]).split(".")
                base = base[: len(base) - level + 1]
                name = ".".join([*base, name] if name else base)
            names = name.split(".")
            modules = [self._load(process, ".".join(names[: end + 1])) for end in range(len(names))]
            if not fromlist:
                return modules[0]
            for wanted in fromlist:
                if wanted != "*" and not hasattr(modules[-1], wanted):
                    submodule = f"{name}.{wanted}"
                    if self._find(submodule) or name.partition(".")[0] in PURE:
                        self._load(process, submodule)
                    else:
                        getattr(modules[-1], wanted)  # says what is wrong
            return modules[-1]

        def print(*values: Any, sep: str | None = None, end: str | None = None, file: Any = None,
                  flush: bool = False) -> None:
            text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
            (file or self._load(us(), "sys").stdout).write(text)

        def input(prompt: str = "") -> str:
            raise EOFError("standard input is empty here")

        def id(thing: Any) -> int:
            """Memory addresses differ from run to run; these do not. What was asked about is kept alive."""
            known = us().identities
            address = builtins.id(thing)
            if address not in known:
                known[address] = (us().number() * 16, thing)
            return known[address][0]

        def build_class(body: Any, name: str, *bases: Any, **options: Any) -> Any:
            """Instances that hash by their address would lie in sets in an order of that run alone."""
            if bases == (NamedTuple,) and is_plain(body.__code__):
                return self.record(body, name)
            made = builtins.__build_class__(body, name, *bases, **options)
            if type(made) is type and vars(made).get("__hash__", made.__hash__) is object.__hash__:
                setattr(made, "__hash__", lambda self: id(self))  # noqa: B010  (mypy sees a method here)
            return made

        return {
            "__import__": __import__, "open": open_here, "print": print, "input": input, "id": id,
            "__build_class__": build_class, "exit": system.leave_thread, "quit": system.leave_thread,
            POINT: point, SEEN: report_access,
        }  # fmt: skip


def is_stateless(module: ModuleType) -> bool:
    """Whether one copy may serve all processes: nothing in it can change. It is looked at, not believed."""
    contents = [thing for name, thing in vars(module).items() if not name.startswith("__")]
    return all(is_constant(thing, module.__name__) for thing in contents)


@cache
def is_plain(body: CodeType) -> bool:
    """Whether a class is nothing but names and constants, so that to make it again would give the same."""
    calls = any(step.opname.startswith("CALL") for step in dis.get_instructions(body))
    return not (calls or body.co_freevars or any(isinstance(thing, CodeType) for thing in body.co_consts))


def is_constant(thing: Any, module: str) -> bool:
    if isinstance(thing, type):
        return thing.__module__ != module or (issubclass(thing, tuple) and not getattr(thing, "__slots__", 1))
    if isinstance(thing, tuple | frozenset):
        return all(is_constant(part, module) for part in thing)
    if isinstance(thing, FunctionType):
        return thing.__module__ != module  # one of its own may change its globals
    plain = isinstance(thing, int | float | str | bytes | None)
    return plain or type(thing).__module__ in ("typing", "types")
