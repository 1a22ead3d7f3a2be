"""What the lab tells the broker's disk, live (shim.py, strace.py) and explored (sim/files.py).

Standard library only: it is loaded into the broker's process.
"""

import json
from typing import NamedTuple


class Order(NamedTuple):
    """What the lab wants to happen, at the nth operation of a kind from now; "refuse" and "delay" go on."""

    do: str  # "die", "fail", "delay", "refuse"; "heal" ends those that go on
    on: str = ""
    nth: int = 1
    seconds: float = 0.0

    def line(self) -> str:
        return json.dumps(self)


class Orders:
    """Those that were given and are not carried out yet."""

    def __init__(self) -> None:
        self.given: list[Order] = []
        self.begun: set[Order] = set()  # of those that go on
        self.has_room = True  # on a disk that is full, for half a write

    def give(self, order: Order) -> None:
        if order.do == "heal":
            self.given, self.begun = [order for order in self.given if order.nth], set()
            self.has_room = True
        else:
            self.given.append(order)

    def last_room(self, data: bytes | memoryview) -> int:
        """How much of the first write that finds a full disk is written: as a rule there is a little room."""
        was_there, self.has_room = self.has_room, False
        return len(data) // 2 if was_there else 0

    def begins(self, order: Order) -> bool:
        """Whether this is the first time that an order which goes on is met."""
        first = order._replace(nth=0) not in self.begun
        self.begun.add(order._replace(nth=0))
        return first

    def due(self, operation: str) -> Order | None:
        """The order that this operation is to meet. One that goes on has an nth of 0 from its first time."""
        for place, order in enumerate(self.given):
            if order.on == operation:
                left = max(0, order.nth - 1)
                goes_on = order.do in ("delay", "refuse")
                self.given[place : place + 1] = [order._replace(nth=left)] if left or goes_on else []
                if not left:
                    return order
        return None
