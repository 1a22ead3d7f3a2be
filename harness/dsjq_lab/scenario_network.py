"""What goes wrong on the way between a client and the broker: the words for it, and what each may be told.

The victim is a client, and what is struck is its link; or the broker, whose links are those of all clients.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from dsjq_lab.scenario_faults import Deed, Fault, TheBroker
from dsjq_lab.scenario_values import (
    AnyVictim,
    AtLeastOne,
    ByteRate,
    Duration,
    MaybeDuration,
    Size,
    key,
    positive,
    word,
)

Direction = Literal["both", "up", "down"]  # up is from the client to the broker
Operation = Literal["submit", "reserve", "ack", "fail", "touch", "release", "any"]
Probability = Annotated[float, Field(ge=0, le=1)]
TOWARDS = word("up is towards the broker", "both")
SOMETIMES = word("of each piece that passes; 0 is no disturbance at all", 1.0)
OPTIONS = (
    "direction", "probability", "by_s", "jitter_s", "to_bytes_per_s", "into_bytes", "to", "connections",
)  # fmt: skip


class OnTheWay(Deed):
    of_the_network: ClassVar[bool] = True
    is_momentary: ClassVar[bool] = True

    @property
    def options(self) -> dict[str, Any]:
        """What the proxy must know (disturbances.py)."""
        return {name: getattr(self, name) for name in OPTIONS if hasattr(self, name)}


class WhileItLasts(OnTheWay, Fault):
    is_momentary: ClassVar[bool] = False
    end_word: ClassVar[str] = "for"
    endings: ClassVar[tuple[str, str]] = ("for {}", "until {}")
    lasts_s: MaybeDuration = key("for", None, "how long; or say `until`")


class Partition(WhileItLasts):
    verb = "partition"
    victim: AnyVictim = key("partition")
    direction: Direction = TOWARDS

    def what(self) -> str:
        ways = {"both": "", "up": ", towards the broker", "down": ", towards the client"}
        return super().what() + ways[self.direction]


class HalfOpen(WhileItLasts):
    verb = "half_open"
    victim: AnyVictim = key("half_open")


class Latency(WhileItLasts):
    verb = "latency"
    victim: AnyVictim = key("latency")
    by_s: Annotated[Duration, AfterValidator(positive)] = key("by", says="so much later")
    jitter_s: Duration = key("jitter", "0s", "so much more or less")
    direction: Direction = TOWARDS
    probability: Probability = SOMETIMES

    def what(self) -> str:
        spread = f" ± {self.jitter_s:g} s" if self.jitter_s else ""
        return f"{super().what()} by {self.by_s:g} s{spread}"


class Bandwidth(WhileItLasts):
    verb = "bandwidth"
    victim: AnyVictim = key("bandwidth")
    to_bytes_per_s: ByteRate = key("to", says="in each direction of each connection")
    direction: Direction = TOWARDS

    def what(self) -> str:
        return f"{super().what()} to {self.to_bytes_per_s:g} bytes a second"


class Slice(WhileItLasts):
    verb = "slice"
    victim: AnyVictim = key("slice")
    into_bytes: Size = key("into", "1B", "of each piece")
    direction: Direction = TOWARDS
    probability: Probability = SOMETIMES

    def what(self) -> str:
        return f"{super().what()} into pieces of {self.into_bytes} B"


class Coalesce(WhileItLasts):
    verb, listens = "coalesce", True
    victim: AnyVictim = key("coalesce")
    probability: Probability = SOMETIMES


class Corrupt(WhileItLasts):
    verb, listens = "corrupt", True
    victim: AnyVictim = key("corrupt")
    direction: Direction = TOWARDS
    probability: Probability = SOMETIMES


class Reset(OnTheWay):
    verb = "reset"
    victim: AnyVictim = key("reset")


class Cut(OnTheWay):
    verb = "cut"
    victim: AnyVictim = key("cut")
    direction: Direction = TOWARDS


class LoseReply(OnTheWay):
    verb, listens = "lose_reply", True
    victim: AnyVictim = key("lose_reply")
    to: Operation = word("the question whose answer is lost", "any")

    def what(self) -> str:
        return f"{super().what()}, to its next {'question' if self.to == 'any' else self.to.upper()}"


class SlowReader(WhileItLasts):
    verb, may_last = "slow_reader", True
    victim: TheBroker = key("slow_reader")


class Storm(OnTheWay):
    verb = "storm"
    victim: TheBroker = key("storm")
    connections: AtLeastOne = word("how many come and go", 100)

    def what(self) -> str:
        return f"{super().what()} with {self.connections} connections"
