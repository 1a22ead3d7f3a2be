"""A broker's own trace: a diary that it may keep, told in the history beside what the clients saw.

One JSON object a line, on the lab's clock: `{"time_ns": 5, "start": true, "jobs": [3]}` when the broker
begins a life, with the jobs that it kept from a former one, and `{"time_ns": 9, "record": "Delivered",
"job": 3, …}` for each record that it applies. A broker that is killed may leave its last line unfinished;
that line is dropped.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsjq_lab.errors import LabError


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Its lines as operations of the process `broker`; none if there is no such file."""
    if path.exists():
        yield from parse(path.read_bytes(), path)


def parse(data: bytes, path: Path) -> Iterator[dict[str, Any]]:
    """The same of what the file at `path` contains."""
    *lines, _torn = data.split(b"\n")
    incarnation = 0
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            time_ns = value.pop("time_ns")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise LabError(f"{path}:{number}: this is no line of a broker's trace: {line[:80]!r}") from None
        f = "record"
        if value.pop("start", False):
            incarnation += 1
            f, value = "start", {"incarnation": incarnation, **value}
        yield {"time_ns": time_ns, "process": "broker", "type": "info", "f": f, "value": value, "error": None}
