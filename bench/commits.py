"""How many jobs a second sixteen producers get confirmed, against one: what group commit is worth.

Each producer is a process that submits one job after the other. The two are measured in turns, several times.
A disk whose sync costs next to nothing leaves nothing to share. So the journal is measured once more, on one
that takes `--fsync-delay` longer to answer, as those do that keep what they promise.
"""
import argparse
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier

SLOW_DISK = """
import os, runpy, sys, time
fdatasync, delay_s = os.fdatasync, float(sys.argv.pop(1))
os.fdatasync = lambda file: (time.sleep(delay_s), fdatasync(file))
runpy.run_module("dsjq", run_name="__main__", alter_sys=True)
"""


def producer(port: int, jobs: int, ready: Barrier) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = b"SUBMIT " + 64 * b"x" + b"\n"
        ready.wait()
        for _ in range(jobs):
            connection.sendall(line)
            assert connection.recv(4096).startswith(b"JOB_ID ")
        ready.wait()


def jobs_per_s(port: int, producers: int, jobs: int) -> float:
    ready = multiprocessing.Barrier(producers + 1)
    processes = [multiprocessing.Process(target=producer, args=[port, jobs // producers, ready])
                 for _ in range(producers)]
    for process in processes:
        process.start()
    ready.wait()
    start = time.perf_counter()
    ready.wait()
    duration_s = time.perf_counter() - start
    for process in processes:
        process.join()
    return jobs / duration_s


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench commits", description=__doc__)
    parser.add_argument("--jobs", type=int, default=3200, help="in each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--producers", type=int, default=16)
    parser.add_argument("--fsync-delay", type=float, default=2.0, dest="fsync_delay_ms", metavar="MS")
    options = parser.parse_args(argv)
    delay_s = options.fsync_delay_ms / 1000
    plain = [sys.executable, "-m", "dsjq"]
    slow = [sys.executable, "-c", SLOW_DISK, str(delay_s)]
    for name, program, store in (
        ("journal", plain, "journal"),
        ("sqlite", plain, "sqlite"),
        (f"journal, each sync {options.fsync_delay_ms:g} ms longer", slow, "journal"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            command = [*program, "serve", "--port", "0", "--data", folder, "--store", store]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as broker:
                try:
                    port = int(broker.stdout.readline().split(b":")[-1])
                    pairs = [[jobs_per_s(port, count, options.jobs) for count in (1, options.producers)]
                             for _ in range(options.rounds)]
                finally:
                    broker.kill()
        one, many = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(many / one for one, many in pairs)
        print(f"{name}: 1 producer {one:,.0f} jobs/s, {options.producers} producers {many:,.0f} jobs/s, "
              f"ratio {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})", flush=True)
