"""All verbs of a scenario file. The verb of an entry is what decides which other words it may have."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from dsjq_lab.scenario_faults import (
    BitFlip,
    ClockStep,
    Deed,
    DiskFull,
    FsyncError,
    Hang,
    Kick,
    Kill,
    KillOn,
    Pause,
    PowerLoss,
    Restart,
    SlowFsync,
    Term,
    Throttle,
    TornTail,
)
from dsjq_lab.scenario_limits import FdLimit, MemoryLimit
from dsjq_lab.scenario_network import (
    Bandwidth,
    Coalesce,
    Corrupt,
    Cut,
    HalfOpen,
    Latency,
    LoseReply,
    Partition,
    Reset,
    Slice,
    SlowReader,
    Storm,
)

VERBS: dict[str, type[Deed]] = {
    deed.verb: deed
    for deed in (
        Kill, Term, Restart, Pause, Hang, Throttle, Kick,
        KillOn, PowerLoss, FsyncError, SlowFsync, TornTail, BitFlip, DiskFull, ClockStep,
        FdLimit, MemoryLimit,
        Partition, HalfOpen, Latency, Bandwidth, Slice, Coalesce, Corrupt, Reset, Cut, LoseReply,
        SlowReader, Storm,
    )
}  # fmt: skip


def verb_of(entry: Any) -> str | None:
    return next((word for word in entry if word in VERBS), None) if isinstance(entry, dict) else None


AnyDeed = Annotated[
    Annotated[Kill, Tag("kill")]
    | Annotated[Term, Tag("term")]
    | Annotated[Restart, Tag("restart")]
    | Annotated[Pause, Tag("pause")]
    | Annotated[Hang, Tag("hang")]
    | Annotated[Throttle, Tag("throttle")]
    | Annotated[Kick, Tag("kick")]
    | Annotated[KillOn, Tag("kill_on")]
    | Annotated[PowerLoss, Tag("power_loss")]
    | Annotated[FsyncError, Tag("fsync_error")]
    | Annotated[SlowFsync, Tag("slow_fsync")]
    | Annotated[TornTail, Tag("torn_tail")]
    | Annotated[BitFlip, Tag("bit_flip")]
    | Annotated[DiskFull, Tag("disk_full")]
    | Annotated[ClockStep, Tag("clock_step")]
    | Annotated[FdLimit, Tag("fd_limit")]
    | Annotated[MemoryLimit, Tag("memory_limit")]
    | Annotated[Partition, Tag("partition")]
    | Annotated[HalfOpen, Tag("half_open")]
    | Annotated[Latency, Tag("latency")]
    | Annotated[Bandwidth, Tag("bandwidth")]
    | Annotated[Slice, Tag("slice")]
    | Annotated[Coalesce, Tag("coalesce")]
    | Annotated[Corrupt, Tag("corrupt")]
    | Annotated[Reset, Tag("reset")]
    | Annotated[Cut, Tag("cut")]
    | Annotated[LoseReply, Tag("lose_reply")]
    | Annotated[SlowReader, Tag("slow_reader")]
    | Annotated[Storm, Tag("storm")],
    Discriminator(verb_of),
]
