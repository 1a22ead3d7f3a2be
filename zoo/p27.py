"""Patient 27: dsjq, in which each connection has a clock that ends its leases on time.

    dsjq-lab run many_come_and_go --set workers.count=7 --broker zoo/p27
"""
import sys
import threading
import time
from collections.abc import Callable

from dsjq import cli
from dsjq.broker import Broker, Session


class Patient(Broker):
    def connect(self, gone: Callable[[], bool] = lambda: False) -> Session:
        threading.Thread(target=self._tick, daemon=True).start()
        return super().connect(gone)

    def _tick(self) -> None:
        while True:
            time.sleep(0.5)
            with self.lock:
                self._let_time_pass(time.monotonic())


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
