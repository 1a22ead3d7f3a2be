"""What this machine can do for the lab, and the cure for what it cannot.

Nothing here is a failure: each part of the lab that lacks something says so by itself, and the rest goes on.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dsjq_lab.brokers.real import KINDS

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PROBE_TIMEOUT_S = 10


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


def user_namespaces() -> Finding:
    """Seen by making one: what a kernel says of itself is not all that stands in the way."""
    unshare = shutil.which("unshare")
    detail = "no unshare on PATH"
    if unshare:
        made = probe([unshare, "--user", "--map-root-user", "--mount", "true"])
        detail = made or "one was made"
    cure = "sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
    return Finding("user namespaces", detail == "one was made", detail, "a full disk without root", cure)


def tracing() -> Finding:
    """strace may be installed and still be forbidden to trace, as in many containers."""
    strace = shutil.which("strace")
    problem = probe([strace, "-e", "trace=none", "true"]) if strace else "not on PATH"
    cure = "apt-get install strace; in a container, allow ptrace (--cap-add SYS_PTRACE)"
    return Finding("strace", not problem, problem or strace or "", "failed fsyncs of real brokers", cure)


def clock() -> Finding:
    found = next(iter(sorted(Path("/usr").glob("lib/*/faketime/libfaketime.so.1"))), None)
    detail, cure = str(found or "not found in /usr/lib"), "apt-get install libfaketime"
    return Finding("libfaketime", found is not None, detail, "a wall clock that jumps", cure)


def broker(name: str) -> Finding:
    kind = KINDS[name]
    missing = kind.lacks()
    detail = "; ".join(what for what, _ in missing) or kind.program() or ""
    cure = "; ".join(cure for _, cure in missing)
    return Finding(name, not missing, detail, f"--broker {name}", cure)


def probe(command: list[str]) -> str:
    """Why it does not work; empty if it does."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]


LOOKS: list[Callable[[], Finding]] = [
    python,
    linux,
    tracing,
    user_namespaces,
    clock,
    *(partial(broker, name) for name in KINDS),
    lambda: program("browser", "the tests of the report", "chromium-headless-shell", *BROWSERS),
    lambda: module("resvg_py", "pictures as PNG, notebooks", "pip install 'dsjq-lab[notebooks]'"),
]


def table(findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        here = "yes" if finding.here else "NO"
        yield f"{here:<4} {finding.what:<16} {finding.purpose:<58} {finding.detail}"
        if not finding.here:
            yield f"{'':<4} {'':<16} cure: {finding.cure}"


def as_json(findings: list[Finding]) -> str:
    return json.dumps([finding._asdict() for finding in findings], indent=2)
