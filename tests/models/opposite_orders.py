"""Two threads take two locks in opposite orders."""
import threading

one, other = threading.Lock(), threading.Lock()


def both(first, second):
    with first, second:
        pass


threads = [threading.Thread(target=both, args=pair) for pair in ((one, other), (other, one))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
