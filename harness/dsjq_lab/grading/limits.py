"""How much a submission may use. A limit is generous to honest work and final to the rest."""

from typing import NamedTuple

MIB = 1 << 20


class Limits(NamedTuple):
    check_s: float = 120.0  # one check, by the clock; twice that when it is tried again
    total_s: float = 1200.0  # all checks together: what comes later is not judged
    memory_bytes: int = 1024 * MIB  # resident, of all its processes; of private memory, of each
    processes: int = 256  # and threads, together
    file_bytes: int = 64 * MIB  # each file that it writes, its output included
    disk_bytes: int = 256 * MIB  # all that lies in its folders
    ready_s: float = 10.0  # until it listens
    time_scale: float = 1.0  # for a machine that is slow from the start


PROFILES = {
    "standard": Limits(),
    # Half a processor, 768 MB, ten minutes: where Gradescope grades, unless told otherwise.
    "small": Limits(check_s=150.0, total_s=540.0, memory_bytes=384 * MIB, processes=200, time_scale=2.0),
}
