"""What a store owes the broker: to keep records in order, and to say when they are safe.

`append` is called under the broker's lock and must not block on a disk; `wait` is called outside
of it, before the answer leaves. Nobody is told what a crash could take back.
"""
from collections.abc import Iterable
from typing import Protocol

from .messages import Record


class Store(Protocol):
    epoch: int  # grows with every start of the broker, so that a token is never used twice

    def load(self) -> Iterable[Record]:
        """All records that survived, in order."""

    def append(self, records: list[Record]) -> int:
        """Take the records; return the position that `wait` must be given for them."""

    def wait(self, position: int) -> None:
        """Return when everything up to `position` is as durable as this store promises."""


class MemoryStore:
    """Keeps nothing: what it promises ends with the process. Ids and tokens then begin again."""

    epoch = 1

    def load(self) -> Iterable[Record]:
        return ()

    def append(self, records: list[Record]) -> int:
        return 0

    def wait(self, position: int) -> None:
        pass
