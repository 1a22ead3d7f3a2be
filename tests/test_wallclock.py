"""The wall clock that the lab sets for a Python broker: off by what it says, and nothing else is changed."""
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsjq_lab import preloaded, wallclock

PROGRAM = """
import datetime, sys, time
now = {
    "time": lambda: time.time(),
    "time_ns": lambda: time.time_ns() / 1e9,
    "clock_gettime": lambda: time.clock_gettime(time.CLOCK_REALTIME),
    "gmtime": lambda: __import__("calendar").timegm(time.gmtime()),
    "localtime": lambda: time.mktime(time.localtime()),
    "now": lambda: datetime.datetime.now().timestamp(),
    "utcnow": lambda: datetime.datetime.utcnow().replace(tzinfo=datetime.UTC).timestamp(),
    "monotonic": lambda: time.monotonic(),
    "another clock": lambda: time.clock_gettime(time.CLOCK_MONOTONIC),
}[sys.argv[1]]
for _ in sys.stdin:
    time.sleep(0.001)  # waiting still works
    print(now(), flush=True)
"""


@pytest.mark.parametrize("way", [
    "time", "time_ns", "clock_gettime", "gmtime", "localtime", "now", "utcnow", "monotonic", "another clock",
])
def test_whoever_asks_for_the_time_of_day_gets_the_lab_s(way: str, tmp_path: Path) -> None:
    program, clock = tmp_path / "program.py", str(tmp_path / "clock")
    program.write_text(PROGRAM)
    wallclock.set_off(clock, 0.0)
    command = [*preloaded.command(sys.executable, "wallclock", clock), str(program), way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdin and broker.stdout

        def told() -> float:
            print(file=broker.stdin, flush=True)
            return float(broker.stdout.readline())

        moved = way not in ("monotonic", "another clock")
        true = time.time if moved else time.monotonic
        before = true()
        for off_s in (0.0, 3600.0, -7200.0):
            wallclock.set_off(clock, off_s)
            expected_s = off_s if moved else 0.0
            assert before - 1 <= told() - expected_s <= true() + 1  # some ways count in whole seconds
        broker.stdin.close()
