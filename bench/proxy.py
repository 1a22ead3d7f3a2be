"""What the fault proxy adds to a question and its answer: one echo server, asked directly and through it."""
import argparse
import json
import multiprocessing
import socket
import statistics
import time

from dsjq_lab.proxy import Proxy

QUESTION = b"RESERVE wait=0\n"
WARM_UP = 200


def repeat(listener: socket.socket) -> None:
    """Says again what it hears, on two connections in turns."""
    conns = [listener.accept()[0] for _ in range(2)]
    for conn in conns:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        for conn in conns:
            data = conn.recv(4096)
            if not data:
                return
            conn.sendall(data)


def asked(conn: socket.socket) -> int:
    """In ns."""
    start = time.perf_counter_ns()
    conn.sendall(QUESTION)
    conn.recv(4096)
    return time.perf_counter_ns() - start


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench proxy", description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000, help="on each way")
    options = parser.parse_args(argv)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = multiprocessing.get_context("fork").Process(target=repeat, args=(listener,), daemon=True)
    server.start()
    proxy = Proxy(address, seed=1)
    direct = socket.create_connection(address)
    through = socket.create_connection(("127.0.0.1", proxy.port("worker 1")))
    times: dict[str, list[int]] = {"direct": [], "through the proxy": []}
    for number in range(WARM_UP + options.questions):
        for name, conn in (("direct", direct), ("through the proxy", through)):
            took_ns = asked(conn)
            if number >= WARM_UP:
                times[name].append(took_ns)
    for name, took in times.items():
        median, p90, p99 = (statistics.quantiles(took, n=100)[place] / 1000 for place in (49, 89, 98))
        print(f"{name:18} median {median:6.1f} µs   p90 {p90:6.1f}   p99 {p99:7.1f}")
    added_us = (statistics.median(times["through the proxy"]) - statistics.median(times["direct"])) / 1000
    print(json.dumps({"added_us_median": round(added_us, 1), "questions": options.questions}))
    for conn in (direct, through):
        conn.close()
    proxy.close()
    server.join()
    return 0
