"""How long it takes to start on a journal of a million records, and after compaction; in new processes."""
import argparse
import contextlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.extensions.journal import Journal


def filled(folder: Path, records: int, alive: int) -> None:
    """As a broker would leave it that took in `alive` jobs, and finished others until there were so many."""
    with contextlib.closing(Journal(folder)) as store:
        broker = Broker(store=store)
        store.compacting = True  # not now
        session = broker.connect()
        store.wait = lambda position: None  # how fast it was written is another question
        for _ in range(alive):
            broker.execute(m.Submit(64 * b"x"), session)
        for _ in range((records - alive) // 3):
            broker.execute(m.Submit(64 * b"x"), session)
            broker.execute(m.Ack(broker.execute(m.Reserve(), session).job), session)
        store._sync()


def in_a_new_process(work: Callable[..., None], *arguments: object) -> None:
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def compact(folder: Path) -> None:
    with contextlib.closing(Journal(folder)) as store:
        store.load(Broker().queue)
        store._compact()


def timed(name: str, folder: Path) -> None:
    start, cpu_start = time.perf_counter(), time.process_time()
    with contextlib.closing(Journal(folder)) as store:
        broker = Broker(store=store)
        duration_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name}: {store.recovered:,} records, {len(broker.queue.jobs):,} jobs alive, "
              f"{store.tail.end / 1e6:.0f} MB: {duration_s:.2f} s, {cpu_s:.2f} s of it on a processor; "
              f"at most {memory:.0f} MB in use")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench reopen", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--alive", type=int, nargs="*", default=[10_000, 100_000, 500_000, 1_000_000])
    options = parser.parse_args(argv)
    for alive in options.alive:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            filled(folder, options.records, alive)
            in_a_new_process(timed, "as left", folder)
            in_a_new_process(compact, folder)
            in_a_new_process(timed, "compacted", folder)
