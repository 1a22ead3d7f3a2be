"""A part of the lab is loaded before a Python broker, into its process, for its disk or its clock.

    python preloaded.py PART ARGUMENT … -- (-m MODULE | FILE) …

`install` of that part (shim.py, wallclock.py) changes functions of `os` or `time` that the broker is going to
use. Then the broker runs as if it had been started alone. Standard library only, here and in what is loaded.
"""

import importlib
import os
import runpy
import sys


def command(python: str, part: str, *arguments: object) -> list[str]:
    """What stands before the rest of a command line that begins with `python`."""
    return [python, __file__, part, *map(str, arguments), "--"]


def run(program: list[str]) -> None:
    if program[0] == "-m":
        sys.argv[:] = program[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = program
        sys.path[0] = os.path.dirname(program[0])
        runpy.run_path(program[0], run_name="__main__")


def main(part: str, *rest: str) -> None:
    end = rest.index("--")
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # where the lab is
    importlib.import_module(f"dsjq_lab.{part}").install(*rest[:end])
    run(list(rest[end + 1 :]))


if __name__ == "__main__":
    main(*sys.argv[1:])
