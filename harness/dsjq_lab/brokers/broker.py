"""What the lab must know of a broker in order to start it. What it does is found out from the outside."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where a broker is to run, and with which options."""

    host: str
    port: int
    data: Path  # a folder of its own, which survives its restarts
    ack_timeout_s: float
    max_attempts: int
    store: str  # "memory": what it is asked to keep ends with it
    backoff_s: float | None = None
    backoff_cap_s: float = 0.0


class Broker(ABC):
    name: str  # in headings, and in `expect … with`
    core: bool  # speaks the four core commands alone: it is not greeted, and nobody asks for its counts
    is_python: bool  # started as `python FILE …` or `python -m MODULE …`: the lab can load its shim first
    limits_attempts: bool  # it was told the limit, so that it may be held to it

    @abstractmethod
    def command(self, place: Place) -> list[str]: ...

    def is_durable(self, store: str) -> bool:
        """Whether it is given a folder for its jobs, so that it may be held to keep them."""
        return store != "memory"

    def environment(self, place: Place) -> dict[str, str]:
        """Added to the environment of the lab."""
        return {"PYTHONUNBUFFERED": "1"}
