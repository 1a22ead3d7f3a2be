"""The simulated way between the clients and the broker, with the lab's hand on it: the twin of the proxy.

A link stands in the middle of each client's connection to the broker. What it hears it passes on in that very
instant, unless a disturbance is upon it: the same that disturb real links (disturbances.py). What one of them
delays is passed on in its time by a task of its own, which belongs to a process named `network`.

What it leaves out: buffers of its own that fill up. The stranger who never reads does without it (guests.py).
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dsjq_lab.disturbances import DISTURBANCES, Disturbance, asked_for
from dsjq_lab.sim.disk import Disk
from dsjq_lab.sim.guests import Guest, Passers
from dsjq_lab.sim.kernel import Kernel
from dsjq_lab.sim.net import Connection, Network, Stream
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.tasks import Task
from dsjq_lab.tongues import LINES
from dsjq_lab.wire import Ear, Said

END = b""  # of a stream


SIMULATED: dict[str, type[Disturbance]] = {**DISTURBANCES, "storm": Passers, "slow_reader": Guest}


class Middle:
    """`on_bite` is called with the victim and the proof, once a disturbance has done something."""

    def __init__(
        self, kernel: Kernel, network: Network, disk: Disk, broker: tuple[str, int], seed: int,
        on_bite: Callable[[str, dict[str, int]], object],
    ) -> None:  # fmt: skip
        self.kernel, self.network, self.broker = kernel, network, broker
        self.seed, self.on_bite = seed, on_bite
        self.disturbances: dict[str, Any] = {}  # by the victim: a client, or "broker" for all links
        self.count = 0
        self.links: dict[Link, None] = {}  # in the order in which they were opened
        self.numbers = itertools.count(1)
        self.said: list[Said] = []  # all that passed, or should have
        self.sleepers: list[Task] = []
        self.process = Process(kernel, "network", [], disk=disk)
        self.process.begin(self.run)

    def pair(self, client: str, mine: object, address: object) -> tuple[Connection, Connection]:
        """The client's end of a new connection, and the broker's."""
        here, near = Connection.pair(mine, address)
        far, there = Connection.pair(mine, address)
        link = Link(self, client, near, far)
        self.links[link] = None
        for disturbance in list(link.disturbances()):
            disturbance.opened(link)
        return here, there

    def disturb(self, victim: str, verb: str, options: Mapping[str, Any]) -> bool:
        """From now on, until `calm`; False if the broker was not there to be disturbed."""
        self.count += 1
        more = {**options, "broker": self.broker, "network": self.network, "start": self.start}
        disturbance = SIMULATED[verb](
            lambda proof: self.tell(victim, disturbance, proof), f"{self.seed} {self.count}", more
        )
        self.disturbances[victim] = disturbance
        links: Any = [link for link in self.links if victim in (link.client, "broker") and not link.forsaken]
        try:
            disturbance.begin(links)
        except OSError:
            del self.disturbances[victim]
            return False
        return True

    def calm(self, victim: str) -> None:
        if disturbance := self.disturbances.pop(victim, None):
            disturbance.end()
        for link in tuple(self.links):
            link.hurry()

    def tell(self, victim: str, disturbance: Disturbance, proof: dict[str, int]) -> None:
        if disturbance.at_once and self.disturbances.get(victim) is disturbance:
            del self.disturbances[victim]
        self.on_bite(victim, proof)

    def start(self, name: str, body: Callable[[], object]) -> None:
        """A stranger, who belongs to the network."""
        self.kernel.start(self.process, f"network/{name}", body)

    def run(self) -> None:
        """Passes on what is late, when its time has come."""
        while True:
            for link in tuple(self.links):
                link.give()
            due = [due_ns for link in self.links if (due_ns := link.next_due_ns) is not None]
            self.kernel.block("what is on its way", min(due, default=None), self.sleepers)


class Half:
    """One direction of a link."""

    def __init__(self, link: "Link", direction: str, source: Stream, sink: Stream) -> None:
        self.connection, self.direction, self.source, self.sink = link, direction, source, sink
        self.ear, self.tongue = Ear(link.client, link.number, direction, True), LINES
        self.waiting: deque[tuple[int, bytes, list[Said]]] = deque()  # (when it may leave, what, its end)
        self.passed_bytes = self.unasked = 0
        self.ended = self.done = False  # its source has said all; and its sink was told so
        self.lost_to: Disturbance | None = None  # which swallows all that still comes
        source.listener = self.hear

    def hear(self) -> None:
        """Something has arrived from the source, or it has ended."""
        link = self.connection
        if self.source.reset:
            link.abort()
        elif self.source.data:
            self.take(self.source.take(len(self.source.data)))
        elif self.source.ended and not self.ended:
            self.ended = True
            self.waiting.append((self.earliest_ns, END, []))
        link.give()
        if self.waiting:
            link.middle.kernel.wake_all(link.middle.sleepers)

    @property
    def earliest_ns(self) -> int:
        """Nothing overtakes what is before it."""
        return self.waiting[-1][0] if self.waiting else 0

    def take(self, data: bytes) -> None:
        now_ns, link = self.connection.middle.kernel.now_ns, self.connection
        said = self.ear.hear(data, now_ns)
        link.middle.said += said
        if self.lost_to is not None:
            self.lost_to.bite(lost_bytes=len(data))
            return
        asked = asked_for(self, data)
        pieces = [(0, asked)] if asked else []
        for disturbance in link.disturbances():
            pieces = [(delay_ns + more_ns, part) for delay_ns, piece in pieces
                      for more_ns, part in disturbance.treat(self, piece, now_ns)]  # fmt: skip
        for delay_ns, piece in pieces:
            self.waiting.append((max(now_ns + delay_ns, self.earliest_ns), piece, []))
        if pieces and not link.is_cut:  # of what is cut off the end never leaves
            self.waiting[-1][2].extend(said)
        self.passed_bytes += len(data)

    def give(self, now_ns: int) -> None:
        while self.waiting and self.waiting[0][0] <= now_ns and not self.held:
            _, data, said = self.waiting.popleft()
            if data == END:
                self.done = True
                self.sink.end()
            elif self.sink.deaf:
                self.connection.abort()
                return
            else:
                for message in said:
                    message.left_ns = now_ns
                self.sink.put(data)

    @property
    def held(self) -> bool:
        return any(disturbance.holds(self) for disturbance in self.connection.disturbances())


class Link:
    """One client's connection: `near` ends at the client, `far` at the broker."""

    def __init__(self, middle: Middle, client: str, near: Connection, far: Connection) -> None:
        self.middle, self.client, self.near, self.far = middle, client, near, far
        self.number = next(middle.numbers)
        self.forsaken = self.is_cut = self.closed = False
        self.up = Half(self, "up", near.incoming, far.outgoing)
        self.down = Half(self, "down", far.incoming, near.outgoing)

    def disturbances(self) -> Iterator[Any]:
        for victim in (self.client, "broker"):
            if victim in self.middle.disturbances:
                yield self.middle.disturbances[victim]

    def give(self) -> None:
        """Passes on what is due, and closes what is over."""
        for half in (self.up, self.down):
            if not self.closed:
                half.give(self.middle.kernel.now_ns)
        if self.is_cut or (self.up.done and self.down.done):
            self.close()

    def hurry(self) -> None:
        """What was delayed is due now."""
        for half in (self.up, self.down):
            half.waiting = deque((0, data, said) for _, data, said in half.waiting)
        self.give()

    @property
    def next_due_ns(self) -> int | None:
        """When something may leave that is only late, not held."""
        return min((half.waiting[0][0] for half in (self.up, self.down) if half.waiting and not half.held),
                   default=None)  # fmt: skip

    def cut_off(self) -> None:
        """It is closed when what is due has left, and nothing more is heard."""
        self.is_cut = True

    def forsake(self) -> None:
        """The client's end is closed, the broker's stays open; what comes from there is heard by nobody."""
        self.near.incoming.listener = None
        self.near.close()
        self.forsaken = self.up.ended = self.up.done = True
        self.up.waiting.clear()
        self.down.lost_to = Disturbance(lambda proof: None, "", {})

    def abort(self) -> None:
        """Both ends are told that it is no more."""
        if not self.closed:
            for end in (self.near, self.far):
                end.incoming.deaf = True
                end.outgoing.break_off("reset")
            self.forget()

    def close(self) -> None:
        if not self.closed:
            for end in (self.near, self.far):
                end.close()
            self.forget()

    def forget(self) -> None:
        self.closed = True
        for end in (self.near, self.far):
            end.incoming.listener = None
        self.middle.links.pop(self, None)
