"""Runs on the real `threading` and on the simulated one, and must print the same."""
import queue
import threading
import time


def attempt(label, action):
    try:
        result = action()
    except BaseException as problem:
        result = type(problem).__name__
    print(label, result)


lock = threading.Lock()
attempt("release unlocked", lock.release)
lock.acquire()
attempt("do not block", lambda: lock.acquire(False))
attempt("time out", lambda: lock.acquire(timeout=0.01))
attempt("locked", lock.locked)
attempt("bad arguments", lambda: lock.acquire(False, 1))
attempt("negative time-out", lambda: lock.acquire(timeout=-2))

again = threading.RLock()
attempt("release an RLock unowned", again.release)
again.acquire()
again.acquire()
again.release()
other = threading.Thread(target=lambda: print("another thread", again.acquire(False)))
other.start()
other.join()

condition = threading.Condition()
attempt("wait unowned", condition.wait)
attempt("notify unowned", condition.notify)
with condition:
    attempt("wait times out", lambda: condition.wait(0.01))
    attempt("wait_for times out", lambda: condition.wait_for(lambda: 0, 0.01))

order, plain = [], threading.Condition(threading.Lock())


def wait_in_line(number):
    with plain:
        order.append(f"in {number}")
        plain.wait()
        order.append(f"out {number}")


line = [threading.Thread(target=wait_in_line, args=(number,)) for number in range(3)]
for thread in line:
    thread.start()
    time.sleep(0.05)
for _ in line:
    with plain:
        plain.notify()
    time.sleep(0.05)
for thread in line:
    thread.join()
print(order)

event = threading.Event()
attempt("event times out", lambda: event.wait(0.01))
event.set()
attempt("event is set", event.wait)

semaphore = threading.Semaphore(0)
attempt("semaphore, do not block", lambda: semaphore.acquire(False))
attempt("semaphore times out", lambda: semaphore.acquire(timeout=0.01))
attempt("below zero", lambda: threading.Semaphore(-1))
attempt("bounded", threading.BoundedSemaphore(1).release)

thread = threading.Thread(target=lambda: None)
attempt("join before start", thread.join)
thread.start()
thread.join()
attempt("start twice", thread.start)
attempt("alive", thread.is_alive)
attempt("join oneself", lambda: threading.current_thread().join())


class Named(threading.Thread):
    def run(self):
        self.itself = threading.current_thread() is self


named = Named(name="a name")
named.start()
named.join()
print(named.itself, named.name, named.daemon, threading.main_thread() is threading.current_thread())
print(threading.active_count())

mine = threading.local()
mine.value = 1
stranger = threading.Thread(target=lambda: attempt("another's local", lambda: mine.value))
stranger.start()
stranger.join()
print(mine.value)

barrier, places = threading.Barrier(2), []
thread = threading.Thread(target=lambda: places.append(barrier.wait()))
thread.start()
places.append(barrier.wait())
thread.join()
print(sorted(places))
attempt("barrier times out", lambda: barrier.wait(0.01))
print(barrier.broken)

timer = threading.Timer(0.02, print, ("timer",))
timer.start()
timer.join()
timer = threading.Timer(5, print, ("never",))
timer.start()
timer.cancel()
timer.join(1)
print(timer.is_alive())

items = queue.Queue(1)
items.put(1)
attempt("full", lambda: items.put(2, timeout=0.01))
attempt("get", items.get)
attempt("empty", lambda: items.get(timeout=0.01))
items.task_done()
attempt("done twice", items.task_done)
attempt("queue.join", items.join)
