"""The simulated modules: what `import threading` and its like give to a program in the explored world.

Each file says what it promises and what it leaves out. tests/conformance/ runs the same small programs on
these and on the real ones, and they must print the same.
"""

from typing import Any

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.process import Process


def us() -> Process:
    """The process that is running."""
    process = sim().current.process
    assert process is not None, "the lab itself uses no simulated modules"
    return process


def public(module: Any) -> dict[str, Any]:
    """What a real module offers."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}
