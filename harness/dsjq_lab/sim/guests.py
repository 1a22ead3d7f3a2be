"""Strangers of the simulated network: as in the live world, but with simulated sockets (disturbances.py)."""

from collections.abc import Callable, Iterable
from typing import Any

from dsjq_lab.disturbances import GUEST_BUFFER_BYTES, Disturbance, SlowReader, Storm
from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.net import Connection


class Passers(Storm):
    """They come and go without a word."""

    def begin(self, links: Iterable[Any]) -> None:
        for _ in range(self.options["connections"]):
            self.options["network"].connect("a stranger", None, self.options["broker"]).close()
        self.bite(connections=self.options["connections"])


class Guest(Disturbance):
    """One who asks and asks, and reads nothing.

    No link stands between it and the broker: that would take all the answers off the broker's hands.
    """

    def begin(self, links: Iterable[Any]) -> None:
        network, broker = self.options["network"], self.options["broker"]
        self.line: Connection = network.connect("a stranger", None, broker, narrow)
        self.line.incoming.listener = self.look
        self.sent_bytes = 0
        start: Callable[[str, Callable[[], object]], object] = self.options["start"]
        start("guest", self.ask)

    def ask(self) -> None:
        """Until the broker takes no more, and whenever it has taken some."""
        questions = self.line.outgoing
        while not (questions.deaf or questions.ended):
            asked = SlowReader.QUESTION[: questions.room]
            self.sent_bytes += len(asked)
            questions.put(asked)
            sim().block("room for a question", None, questions.writers)

    def look(self) -> None:
        """The broker has said something, or it has had enough."""
        answers = self.line.incoming
        if answers.ended or answers.reset:
            self.bite(sent_bytes=self.sent_bytes, thrown_out=1)
        elif answers.room <= 0:
            self.bite(sent_bytes=self.sent_bytes, unread_bytes=len(answers.data))

    def end(self) -> None:
        self.line.incoming.listener = None
        self.line.close()
        sim().wake_all(self.line.outgoing.writers)


def narrow(client: str, mine: object, address: object) -> tuple[Connection, Connection]:
    """A connection with little room for what is not read yet."""
    here, there = Connection.pair(mine, address)
    for stream in (here.incoming, here.outgoing):
        stream.capacity = GUEST_BUFFER_BYTES
    return here, there
