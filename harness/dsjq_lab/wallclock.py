"""A wall clock that the lab can set: loaded before a Python broker, into the same process (preloaded.py).

A file says by how many seconds the clock is off; it is read whenever somebody asks what time it is. The
monotonic clock, and whatever waits, is left alone: so who counts leases by that must not notice. Standard
library only: it must not change the broker. (Why not libfaketime: decision 055.)
"""

import datetime
import os
import time
from typing import Any

real_time_ns, real_gettime = time.time_ns, time.clock_gettime
real_breakdown = {name: getattr(time, name) for name in ("gmtime", "localtime", "ctime")}


class DateTime(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def today(cls) -> Any:
        return cls.now()

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)


def install(file: str) -> None:
    def off_s() -> float:
        with open(file) as told:
            return float(told.read())

    def broken_down(name: str) -> Any:
        return lambda seconds=None: real_breakdown[name](time.time() if seconds is None else seconds)

    def gettime(clock: int) -> float:
        return time.time() if clock == time.CLOCK_REALTIME else real_gettime(clock)

    changed: dict[str, Any] = {
        "time_ns": lambda: real_time_ns() + round(off_s() * 1e9),
        "time": lambda: real_time_ns() / 1e9 + off_s(),
        "clock_gettime": gettime,
        **{name: broken_down(name) for name in real_breakdown},
    }
    vars(time).update(changed)
    vars(datetime)["datetime"] = DateTime


def set_off(file: str, seconds: float) -> None:
    """For the lab; whoever reads it meanwhile finds the old time or the new one."""
    new = f"{file}.new"
    with open(new, "w") as told:
        told.write(f"{seconds}")
    os.replace(new, file)
