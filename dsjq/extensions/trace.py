"""A store that also tells, one line of JSON for each record, what the broker does inside.

The lab reads it beside what the clients saw. Payloads are left out: they are long, and may be secret.
"""
import json
import os
import time
from typing import Any

from ..lifecycle import Queue
from ..messages import Record
from ..store import Store


class Traced:
    """Passes everything on to `store`. Several brokers may write to one file, also at once."""

    def __init__(self, store: Store, path: str):
        self.store, self.epoch, self.clock_s = store, store.epoch, store.clock_s
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def load(self, queue: Queue) -> None:
        self.store.load(queue)
        self._tell([{"start": True, "jobs": [*queue.jobs, *queue.finished]}])

    def append(self, records: list[Record]) -> int:
        position = self.store.append(records)
        self._tell([{"record": type(record).__name__, **_without_payload(record)} for record in records])
        return position

    def wait(self, position: int) -> None:
        self.store.wait(position)

    def _tell(self, events: list[dict[str, Any]]) -> None:
        time_ns = time.monotonic_ns()
        lines = (json.dumps({"time_ns": time_ns, **event}) + "\n" for event in events)
        os.write(self.file, "".join(lines).encode())  # in one piece, so that no other's comes between


def _without_payload(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record._asdict().items() if not isinstance(value, bytes)}
