"""What goes wrong in a scenario: a deed is a verb, a victim and a trigger, and a fault has an end as well.

Triggers and ends are better said by what happens (`when: {before_ack: 1}`, `until: {redelivered: that job}`)
than by the clock: an event is exact on every machine, and a story in seconds is a guess about a machine.
"""

from math import floor
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Discriminator, Field, PlainValidator, Tag
from pydantic_core import PydanticCustomError

from dsjq_lab.scenario_values import (
    DEAD_JOBS,
    THAT_JOB,
    AnyVictim,
    AtLeastOne,
    Duration,
    MaybeDuration,
    Name,
    Occurrence,
    Share,
    Step,
    Strict,
    Victim,
    key,
    positive,
    text_like,
    word,
)

Event = Literal[
    "submitted",
    "delivered",
    "redelivered",
    "before_work",
    "before_effect",
    "before_ack",
    "ack_sent",
    "acked",
    "failed",
    "broker_ready",
]
DiskOperation = Literal["fsync", "write", "rename"]
EVENTS = {  # whose event it is, and how the nth (or that of a job) reads in a plan
    "submitted": ("producer", "submit {} is confirmed"),
    "delivered": ("worker", "delivery {} is read, its work not begun"),
    "redelivered": ("worker", "redelivery {} is read, its work not begun"),
    "before_work": ("worker", "work {} is about to begin"),
    "before_effect": ("worker", "effect {} is about to be written, its work done"),
    "before_ack": ("worker", "ack {} is about to be sent, its work done"),
    "ack_sent": ("worker", "ack {} has left, its reply not read"),
    "acked": ("worker", "ack {} is confirmed"),
    "failed": ("worker", "failure {} is confirmed"),
    "broker_ready": ("broker", "start {} of the broker is over"),
}


class Timed(NamedTuple):
    at_s: list[float]  # the moments of all strikes, from the start of the load


class When(NamedTuple):
    event: str
    nth: int | str  # in the whole run; or "that job": the one of the event that struck

    def __str__(self) -> str:
        which = "of that job" if self.nth == THAT_JOB else self.nth
        return EVENTS[self.event][1].format(which)


class After(NamedTuple):
    id: str  # of the fault of which every strike must have ended


def a_time_or_an_event(value: Any) -> str:
    return "an event" if isinstance(value, dict) else "a time"


Until = Annotated[
    Annotated[Duration, Tag("a time")]
    | Annotated[dict[Event, Occurrence], Field(min_length=1, max_length=1), Tag("an event")],
    Discriminator(a_time_or_an_event),
]


class Deed(Strict):
    verb: ClassVar[str]

    of_the_disk: ClassVar[bool] = False  # it needs the lab's shim between the broker and its disk
    of_the_network: ClassVar[bool] = False  # it needs the lab's proxy between the clients and the broker
    listens: ClassVar[bool] = False  # it must understand what is said on the way
    is_momentary: ClassVar[bool] = False  # over as soon as it has happened

    victim: AnyVictim
    id: Name = word("its name, for another's `after`", None)
    at_s: MaybeDuration = key("at", None, "from the start of the load")
    every_s: Annotated[MaybeDuration, AfterValidator(positive)] = key("every", None, "again and again")
    from_s: MaybeDuration = key("from", None, "the first moment, beside `every`")
    until: Until | None = word("beside `every` the last moment; else the event that ends the fault", None)
    when: Annotated[dict[Event, AtLeastOne], Field(min_length=1, max_length=1)] = word(
        "the nth event of its kind, e.g. {before_ack: 3}: exact", {}
    )
    after: Name = word("the id of a fault that must have ended", None)

    @property
    def until_s(self) -> float | None:
        return self.until if isinstance(self.until, float) else None

    @property
    def trigger(self) -> Timed | When | After:
        if self.when:
            return When(*next(iter(self.when.items())))
        if self.after is not None:
            return After(self.after)
        if self.every_s is None or self.until_s is None:
            return Timed([self.at_s or 0.0])
        start_s = self.every_s if self.from_s is None else self.from_s
        strikes = floor(round((self.until_s - start_s) / self.every_s, 6)) + 1  # until is included
        return Timed([round(start_s + i * self.every_s, 6) for i in range(strikes)])

    @property
    def end(self) -> float | When | None:
        """After how many seconds, or by which event, the victim is back; None is at once, or for good."""
        return None

    def moment(self) -> str:
        match self.trigger:
            case When() as event:
                return f"when {event}"
            case After(id):
                return f"after {id} has ended"
            case Timed(at_s) if self.every_s is not None:
                return f"every {self.every_s:g} s from {at_s[0]:g} s until {self.until_s:g} s"
            case Timed(at_s):
                return f"at {at_s[0]:g} s"

    def what(self) -> str:
        return f"{self.verb} {self.victim.text}"

    def ending(self) -> str:
        return ""

    def note(self) -> str:
        match self.trigger:
            case When(event):
                return "  (exact)" if EVENTS[event][0] != "broker" else ""
            case After():
                return ""
            case Timed(at_s):
                return f"  (strikes: {len(at_s)})"

    def __str__(self) -> str:
        name = f"{self.id}: " if self.id else ""
        return f"{name}{self.moment()}: {self.what()}{self.ending()}{self.note()}"


class Fault(Deed):
    end_word: ClassVar[str]  # the key that ends it by time
    endings: ClassVar[tuple[str, str]]  # how it reads in a plan that it ends by time, and by event
    may_last: ClassVar[bool] = False  # for good

    lasts_s: MaybeDuration = None

    @property
    def end(self) -> float | When | None:
        if isinstance(self.until, dict):
            return When(*next(iter(self.until.items())))
        return self.lasts_s

    def ending(self) -> str:
        by_time, by_event = self.endings
        match self.end:
            case None:
                return ", for good"
            case When() as event:
                return ", " + by_event.format(str(event).partition(",")[0])
            case lasts_s:
                return ", " + by_time.format(f"{lasts_s:g} s")


class Kill(Fault):
    verb, end_word, endings, may_last = "kill", "restart_after", ("back after {}", "back when {}"), True
    victim: AnyVictim = key("kill")
    lasts_s: MaybeDuration = key("restart_after", None, "else it is gone for good")


class Term(Kill):
    verb = "term"
    victim: AnyVictim = key("term")
    grace_s: Duration = key("grace", "5s", "after which it is killed, as a supervisor would do it")

    def ending(self) -> str:
        return f"{super().ending()}, killed if it takes more than {self.grace_s:g} s"


def only_the_broker(victim: Victim) -> Victim:
    if victim.role != "broker":
        raise PydanticCustomError("value", "only the broker is restarted; others: kill with restart_after")
    return victim


class Restart(Term):
    verb, end_word, endings, may_last = "restart", "down_for", ("down for {}", "down until {}"), False
    victim: Annotated[AnyVictim, AfterValidator(only_the_broker)] = key("restart")
    lasts_s: Duration = key("down_for", "0s", "until it is started again")


class Pause(Fault):
    verb, end_word, endings = "pause", "for", ("for {}", "until {}")
    victim: AnyVictim = key("pause")
    lasts_s: MaybeDuration = key("for", None, "how long; or say `until`")


def only_a_worker(victim: Victim) -> Victim:
    if victim.role != "worker":
        raise PydanticCustomError("value", "only workers have a handler that can hang; others: pause")
    return victim


class Hang(Pause):
    verb = "hang"
    victim: Annotated[AnyVictim, AfterValidator(only_a_worker)] = key("hang")


class Throttle(Pause):
    verb = "throttle"
    victim: AnyVictim = key("throttle")
    share: Share = key("to", says="of the time, in which it runs")

    def what(self) -> str:
        return f"{super().what()} to {self.share:.0%} of its time"


def only_dead_jobs(text: Any) -> Victim:
    if text != DEAD_JOBS:
        raise PydanticCustomError("value", f"what is kicked is called '{DEAD_JOBS}'")
    return Victim(DEAD_JOBS, "auditor", "the")


class Kick(Deed):
    """An operator's deed: all dead jobs get another chance."""

    verb = "kick"
    victim: Annotated[Victim, PlainValidator(only_dead_jobs), text_like(DEAD_JOBS)] = key("kick")


class KillOn(Kill):
    """Of the broker, in the middle of what it does to its disk; counted from the moment of the fault."""

    verb, of_the_disk = "kill_on", True
    victim: ClassVar[Victim] = Victim("broker", "broker", "the")  # type: ignore[misc]
    on: Annotated[dict[DiskOperation, AtLeastOne], Field(min_length=1, max_length=1)] = key("kill_on")

    def what(self) -> str:
        [(operation, nth)] = self.on.items()
        return f"kill broker at its {operation} number {nth} from then"


def only_broker(victim: Victim) -> Victim:
    if victim.role != "broker":
        raise PydanticCustomError("value", "this can be done to the broker alone: write 'broker'")
    return victim


TheBroker = Annotated[AnyVictim, AfterValidator(only_broker)]


class PowerLoss(Kill):
    verb, of_the_disk = "power_loss", True
    victim: TheBroker = key("power_loss")


class TornTail(Kill):
    verb = "torn_tail"
    victim: TheBroker = key("torn_tail")
    torn_bytes: AtLeastOne = key("bytes", 5, "that are missing at the end")

    def what(self) -> str:
        return f"{super().what()} by {self.torn_bytes} bytes"


class BitFlip(Kill):
    verb = "bit_flip"
    victim: TheBroker = key("bit_flip")


class DiskFull(Pause):
    """A broker that then ends is started again when there is room."""

    verb, of_the_disk = "disk_full", True
    victim: TheBroker = key("disk_full")


class FsyncError(Fault):
    """A broker that then ends is started again."""

    verb, of_the_disk = "fsync_error", True
    end_word, endings = "restart_after", ("back after {} if it ends", "back when {} if it ends")
    victim: TheBroker = key("fsync_error")
    nth: AtLeastOne = word("which of the fsyncs from then", 1)
    lasts_s: Duration = key("restart_after", "200ms", "if the broker ends")


class SlowFsync(Pause):
    verb, of_the_disk = "slow_fsync", True
    victim: TheBroker = key("slow_fsync")
    by_s: Annotated[Duration, AfterValidator(positive)] = key("by", says="each fsync takes so much longer")


class ClockStep(Deed):
    verb = "clock_step"
    victim: TheBroker = key("clock_step")
    by_s: Step = key("by", says="forward, or back")

    def what(self) -> str:
        return f"set the broker's clock {'back' if self.by_s < 0 else 'forward'} by {abs(self.by_s):g} s"
