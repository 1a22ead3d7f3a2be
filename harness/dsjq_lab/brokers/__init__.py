"""One kind of broker, one small class: how it is started, and what the lab may take for granted about it."""

from dsjq_lab.brokers.broker import Broker, Place
from dsjq_lab.brokers.dsjq import Dsjq

__all__ = ["Broker", "Dsjq", "Place"]
