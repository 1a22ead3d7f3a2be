"""What this machine can do for the lab, and the cure for what it cannot.

Nothing here is a failure: each part of the lab that lacks something says so by itself, and the rest goes on.
"""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from dsjq_lab import strace
from dsjq_lab.brokers.real import KINDS

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


class Finding(NamedTuple):
    """One thing that the lab can use."""

    what: str
    here: bool
    detail: str  # where, or what is wrong
    purpose: str
    cure: str  # if it is not here


def examine() -> list[Finding]:
    return [look() for look in LOOKS]


def program(name: str, purpose: str, package: str, *names: str) -> Finding:
    found = next(filter(None, map(shutil.which, names or (name,))), None)
    return Finding(name, found is not None, found or "not on PATH", purpose, f"apt-get install {package}")


def module(name: str, purpose: str, cure: str) -> Finding:
    here = importlib.util.find_spec(name) is not None
    return Finding(name, here, "installed" if here else "not installed", purpose, cure)


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info >= (3, 11), version, "everything", "Python 3.11 or later")


def linux() -> Finding:
    purpose = "nothing outlives the lab, also when it is killed; all faults"
    return Finding("Linux", sys.platform == "linux", sys.platform, purpose, "Linux, or WSL2 on Windows")


def tracing() -> Finding:
    problem, purpose = strace.refusal(), "failed and slow fsyncs of SQLite, and of other brokers"
    return Finding("strace", not problem, problem or shutil.which("strace") or "", purpose, strace.CURE)


def broker(name: str) -> Finding:
    kind = KINDS[name]
    missing = kind.lacks()
    detail = "; ".join(what for what, _ in missing) or kind.program() or ""
    cure = "; ".join(cure for _, cure in missing)
    return Finding(name, not missing, detail, f"--broker {name}", cure)


LOOKS: list[Callable[[], Finding]] = [
    python,
    linux,
    tracing,
    *(partial(broker, name) for name in KINDS),
    lambda: program("openssl", "scenarios with TLS; dsjq certs", "openssl"),
    lambda: module("greenlet", "exploring a third faster", "pip install 'dsjq-lab[explore]'"),
    lambda: program("browser", "the tests of the report", "chromium-headless-shell", *BROWSERS),
    lambda: module("resvg_py", "pictures as PNG, notebooks", "pip install 'dsjq-lab[notebooks]'"),
]


def table(findings: list[Finding]) -> Iterator[str]:
    wide = max(len(finding.what) for finding in findings)
    for finding in findings:
        here = "yes" if finding.here else "NO"
        yield f"{here:<4} {finding.what:<{wide}} {finding.purpose:<62} {finding.detail}"
        if not finding.here:
            yield f"{'':<4} {'':<{wide}} cure: {finding.cure}"


def as_json(findings: list[Finding]) -> str:
    return json.dumps([finding._asdict() for finding in findings], indent=2)
