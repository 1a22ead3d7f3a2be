"""A broker of the `dsjq serve` kind: the one installed here, or a file that stands in for it.

What it speaks is found out by talking to it.
"""

import sys
from pathlib import Path

from dsjq_lab.brokers.broker import Broker, Place
from dsjq_lab.tongues import FRAMES


class Dsjq(Broker):
    core = False
    is_python = True
    limits_attempts = True
    has_door = True

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.name = str(file) if file else "dsjq"

    def command(self, place: Place) -> list[str]:
        program = [str(self.file.resolve())] if self.file else ["-m", "dsjq", "serve"]
        options = {
            "--host": place.host,
            "--port": str(place.port),
            "--ack-timeout": f"{place.ack_timeout_s:g}s",
            "--max-attempts": str(place.max_attempts),
        }
        if place.backoff_s is not None:
            options["--backoff"] = f"{place.backoff_s:g}s"
            options["--backoff-cap"] = f"{place.backoff_cap_s:g}s"
        if self.is_durable(place.store):
            options |= {"--data": str(place.data), "--store": place.store}
        if place.door:
            options |= place.door.options()
        return [sys.executable, *program, *(word for option in options.items() for word in option)]


class DsjqFrames(Dsjq):
    """The installed one; its clients speak frames to it."""

    tongue = FRAMES

    def __init__(self) -> None:
        super().__init__()
        self.name = "dsjq-frames"

    def client(self) -> list[str]:
        return ["-P", "-m", "dsjq_lab.clients.frames"]
