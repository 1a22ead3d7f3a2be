"""One kind of broker, one small class: how it is started, and what the lab may take for granted about it."""

from dsjq_lab import library
from dsjq_lab.brokers.broker import Broker, Place
from dsjq_lab.brokers.command import Command
from dsjq_lab.brokers.dsjq import Dsjq, DsjqFrames
from dsjq_lab.errors import UsageError
from dsjq_lab.history import Header

__all__ = ["Broker", "Command", "Dsjq", "Place", "of_run", "under_study"]


def under_study(text: str | None, command: str | None) -> Broker:
    """The broker that is asked for by its name, address, file or command line; else the reference."""
    from dsjq_lab.brokers import real

    if command is not None:
        return Command(command)
    if text is None or text == "dsjq":
        return Dsjq()
    if text == "dsjq-frames":
        return DsjqFrames()
    if text in real.KINDS:
        return real.KINDS[text]()
    scheme, is_address, _ = text.partition("://")
    if is_address and scheme not in real.SCHEMES:
        near = library.did_you_mean(scheme, real.SCHEMES)
        raise UsageError(f"no broker is reached by {scheme}://{near}: {', '.join(real.SCHEMES)}")
    if is_address:
        return real.at(text)
    try:
        return Dsjq(library.find("zoo", text))
    except library.NotFound as nothing:
        near = library.did_you_mean(text, real.KINDS)
        raise UsageError(f"{nothing}\n  real brokers: {', '.join(real.KINDS)}{near}") from None


def of_run(header: Header) -> Broker:
    """The one that a stored run was played with."""
    from dsjq_lab.brokers import real

    if header.broker in real.KINDS:
        return real.KINDS[header.broker](header.options.get("address", ""))
    if header.broker == "dsjq-frames":
        return DsjqFrames()
    if header.options.get("core"):
        return Command(header.broker)
    return Dsjq() if header.broker == "dsjq" else Dsjq(library.find("zoo", header.broker))
