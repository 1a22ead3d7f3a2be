"""Two threads add one to a number without a lock; and with one, if the argument says so."""
import contextlib
import sys
import threading


class Number:
    def __init__(self, lock):
        self.value, self.lock = 0, lock

    def add_one(self):
        with self.lock:
            self.value += 1


number = Number(threading.Lock() if "locked" in sys.argv else contextlib.nullcontext())
threads = [threading.Thread(target=number.add_one) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(0 if number.value == 2 else 1)
