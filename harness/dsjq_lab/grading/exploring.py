"""Explores a submission in a process of its own, as it is confined, and reads what that says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dsjq_lab.brokers import Broker, Command, Dsjq
from dsjq_lab.errors import LabError


def explore(scenario: Path, broker: Broker, *words: str) -> dict[str, Any]:
    """What `dsjq-lab explore --json` has to say; LabError if it is nothing.

    Student code runs in that process, and its judge as well: LAB.md says what can be faked there.
    """
    before, path = broker.explorer(scenario) if isinstance(broker, Command) else ([], scenario)
    studied = list[str]()
    match broker:
        case Command():
            studied = ["--broker-cmd", broker.name]
        case Dsjq(file=Path() as file):
            studied = ["--broker", str(file)]
    explorer = [sys.executable, "-P", "-m", "dsjq_lab", "explore", str(path), *studied, "--jobs", "1"]
    command = [*before, *explorer, *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    try:
        result = json.loads(done.stdout)
        if {"outcome", "failures", "refused", "runs", "failing", "unknown"} <= result.keys():
            return dict(result)
    except (ValueError, AttributeError):
        pass
    raise LabError(f"the explorer ended with {done.returncode}: {done.stderr.strip()}")
