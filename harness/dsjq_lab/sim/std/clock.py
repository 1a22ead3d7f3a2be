"""Simulated `time` and `datetime`.

What they promise: a clock that jumps from event to event, and costs a microsecond an operation.

What they leave out: time zones.
"""

import datetime as real_datetime
import time as real_time
from typing import Any

from dsjq_lab.sim.kernel import Kernel, sim
from dsjq_lab.sim.std import public

EPOCH_S = 1_700_000_000  # of the calendar, when the monotonic clock shows 0


def tick() -> Kernel:
    kernel = sim()
    kernel.operation()
    return kernel


def sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    kernel = tick()
    kernel.block("sleep", kernel.deadline(seconds))


def calendar_time() -> float:
    kernel = sim()
    return EPOCH_S + kernel.look_at_clock() / 1e9 + kernel.calendar_s


def time_module() -> dict[str, Any]:
    monotonic, monotonic_ns = lambda: sim().look_at_clock() / 1e9, lambda: sim().look_at_clock()
    ours = {
        "sleep": sleep,
        "monotonic": monotonic, "perf_counter": monotonic,
        "process_time": monotonic, "thread_time": monotonic,
        "monotonic_ns": monotonic_ns, "perf_counter_ns": monotonic_ns, "process_time_ns": monotonic_ns,
        "time": calendar_time, "time_ns": lambda: int(calendar_time() * 1e9),
        "gmtime": lambda s=None: real_time.gmtime(calendar_time() if s is None else s),
        "localtime": lambda s=None: real_time.gmtime(calendar_time() if s is None else s),
        "ctime": lambda s=None: real_time.asctime(real_time.gmtime(calendar_time() if s is None else s)),
        "strftime": lambda f, t=None: real_time.strftime(f, t or real_time.gmtime(calendar_time())),
    }  # fmt: skip
    pure = ("asctime", "strptime", "struct_time", "timezone", "altzone", "daylight", "tzname")
    return {**{name: getattr(real_time, name) for name in pure}, **ours}


class DateTime(real_datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        moment = real_datetime.datetime.fromtimestamp(calendar_time(), tz or real_datetime.UTC)
        return moment if tz else moment.replace(tzinfo=None)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now()

    @classmethod
    def today(cls) -> Any:
        return cls.now()


def datetime_module() -> dict[str, Any]:
    return {**public(real_datetime), "datetime": DateTime}
