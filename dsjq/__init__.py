"""DSJQ: a small job queue over TCP. The broker owns all state; producers submit; workers work.

Read ring 1 in this order: messages, lifecycle, text, store, broker, server, client, workers.
"""
from .client import OutcomeUnknown, Refused
from .workers import Job, Producer, Worker

__all__ = ["Job", "OutcomeUnknown", "Producer", "Refused", "Worker"]
