"""The lab: plays a scenario against a broker, and judges what happened."""

__version__ = "0.1.0"
