"""One kind of broker, one small class: how it is started, and what the lab may take for granted about it."""

from dsjq_lab import library
from dsjq_lab.brokers.broker import Broker, Place
from dsjq_lab.brokers.command import Command
from dsjq_lab.brokers.dsjq import Dsjq
from dsjq_lab.history import Header

__all__ = ["Broker", "Command", "Dsjq", "Place", "of_run", "under_study"]


def under_study(file: str | None, command: str | None) -> Broker:
    """The broker that is asked for by its file or by its command line; else the reference."""
    if command is not None:
        return Command(command)
    return Dsjq(library.find("zoo", file) if file else None)


def of_run(header: Header) -> Broker:
    """The one that a stored run was played with."""
    if header.options.get("core"):
        return Command(header.broker)
    return Dsjq() if header.broker == "dsjq" else Dsjq(library.find("zoo", header.broker))
