"""What a store owes the broker: to keep records in order, and to say when they are safe.

`append` is called under the broker's lock and must not wait for a disk; `wait` is called outside of it,
before the answer leaves. Nobody is told what a crash could take back.
"""
from typing import Protocol

from .lifecycle import Queue
from .messages import Record


class StorageFull(Exception):
    """There was no room for the records: none was kept, so none may be applied."""


class Unusable(Exception):
    """What the store was given to keep records in cannot be used, and why."""


class Store(Protocol):
    epoch: int  # grows with every start of the broker, so that a token is never used twice
    clock_s: float  # added to the monotonic clock, lets it go on where it was before a restart

    def load(self, queue: Queue) -> None:
        """Apply what survived to `queue`, which is empty."""

    def append(self, records: list[Record]) -> int:
        """Keep the records, all or none; return the position to wait for before anybody is told of them.

        That is 0 for records that outlive the process by now and that nobody would miss after a loss of
        power. Raises StorageFull.
        """

    def wait(self, position: int) -> None:
        """Return when everything up to `position` is as durable as this store promises."""


class MemoryStore:
    """Keeps nothing: what it promises ends with the process. Ids and tokens then begin again."""

    epoch, clock_s = 1, 0.0

    def load(self, queue: Queue) -> None:
        pass

    def append(self, records: list[Record]) -> int:
        return 0

    def wait(self, position: int) -> None:
        pass
