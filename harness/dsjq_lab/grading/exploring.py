"""Explores a submission in processes of its own, and reads what they say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dsjq_lab.brokers import Broker, Command, Dsjq
from dsjq_lab.errors import LabError


def explore(scenario: Path, broker: Broker, *words: str) -> dict[str, Any]:
    """What `dsjq-lab explore --json` has to say; LabError if it is nothing.

    Student code runs in a child of that process, confined, and so does its judge: docs/coursework.md says
    what can be faked there.
    """
    studied, folder, env = list[str](), Path(), None
    match broker:
        case Command():
            studied, folder, env = ["--broker-cmd", broker.name], broker.folder, broker.explorer()
        case Dsjq(file=Path() as file):
            studied = ["--broker", str(file.resolve())]
    explorer = [sys.executable, "-P", "-m", "dsjq_lab", "explore", str(scenario.resolve()), *studied]
    command = [*explorer, "--jobs", "1", *words, "--json"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, errors="replace")
    try:
        result = json.loads(done.stdout)
        if {"outcome", "failures", "refused", "runs", "failing", "unknown"} <= result.keys():
            return dict(result)
    except (ValueError, AttributeError):
        pass
    raise LabError(f"the explorer ended with {done.returncode}: {done.stderr.strip()}")
