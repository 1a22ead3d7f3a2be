"""How a broker of the `dsjq serve` kind is started: the one installed here, or a file that stands in for it.

That is all the lab knows of the broker. What it speaks is found out by talking to it.
"""

import sys
from pathlib import Path

from dsjq_lab.scenario import Scenario


def command(broker_file: Path | None, port: int, scenario: Scenario) -> list[str]:
    """The command line of a broker for this scenario, on this port."""
    program = [str(broker_file.resolve())] if broker_file else ["-m", "dsjq", "serve"]
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--ack-timeout": f"{scenario.broker.ack_timeout_s:g}s",
        "--max-attempts": str(scenario.broker.max_attempts),
    }
    return [sys.executable, *program, *(word for option in options.items() for word in option)]
