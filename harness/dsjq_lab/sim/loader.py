"""Loads the code under study, unmodified, into a simulated process: every `import` of it comes here.

A *studied* module, the broker's or a student's, gets its points (points.py), and every process a fresh copy
of it, since a process's memory is its own; but what cannot change is made once and shared. What is not
studied is the library's (library.py).

No real module is changed. The copies differ from the originals in their `__builtins__` alone.
"""

import ast
import builtins
import dis
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from dsjq_lab.sim.countdown import point
from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.library import (
    LEFT_OUT,
    PURE,
    REBUILT,
    SHARED,
    Refused,
    Simulated,
    SimUnsupported,
    Sys,
    installed,
    open_here,
    real,
    rebuilt,
    simulated,
)
from dsjq_lab.sim.points import POINT, SEEN, instrument, lines_with_points
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.std import system
from dsjq_lab.sim.tasks import Place


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
            return real(name)
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
