"""The lab: plays a scenario against a broker, and judges what happened.

In a notebook: `from dsjq_lab import explore, load_run, run` (notebook.py).
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loaded only when it is asked for: a command line must not wait for what notebooks need."""
    if name in ("explore", "load_run", "predicted", "run"):
        from dsjq_lab import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
