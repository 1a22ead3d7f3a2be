"""What tests of real runs share: a short scenario, a small broker, and ways to look into a history."""
import json
from pathlib import Path

from dsjq_lab.conductor import TOO_BUSY
from dsjq_lab.history import Op, read_history

ROOT = Path(__file__).parent.parent

FOUR_COMMANDS = '''
"""A broker that knows SUBMIT, REQUEST, ACK and FAIL, and no lease that ends."""
import socketserver, sys, threading

jobs, waiting, lock = [], [], threading.Lock()

class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        held = set()
        for line in self.rfile:
            verb, _, rest = line.decode().rstrip("\\n").partition(" ")
            with lock:
                self.wfile.write((self.answer(verb, rest, held) + "\\n").encode())
        with lock:
            waiting.extend(held)

    def answer(self, verb, rest, held):
        if verb == "SUBMIT":
            jobs.append(rest)
            waiting.append(len(jobs) - 1)
            return f"JOB_ID {len(jobs) - 1}"
        if verb == "REQUEST":
            if not waiting:
                return "EMPTY"
            held.add(waiting[0])
            return f"JOB {waiting[0]} {jobs[waiting.pop(0)]}"
        if verb in ("ACK", "FAIL") and int(rest) in held:
            held.remove(int(rest))
            if verb == "FAIL":
                waiting.append(int(rest))
            return "OK"
        return "ERROR NO"

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

Server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Connection).serve_forever()
'''


def scenario(
    tmp_path: Path, faults: str, *, workers: dict[str, object] | None = None, max_attempts: int = 5,
    finish_within: str = "20s", **load: object,
) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(f"""
scenario: 1
title: A test
story: A test.
broker: {{ack_timeout: 500ms, max_attempts: {max_attempts}}}
load: {json.dumps({"jobs": 6, **load})}
workers: {json.dumps({"count": 2, "work_time": "10ms", **(workers or {})})}
finish_within: {finish_within}
faults: {faults or "[]"}
""")
    return path


def ops_of(folder: Path) -> list[Op]:
    return read_history(folder / "history.jsonl").ops


def only(ops: list[Op], **wanted: object) -> list[Op]:
    return [op for op in ops if all(getattr(op, name) == value for name, value in wanted.items())]


def ending(ops: list[Op]) -> dict[str, object]:
    assert (ops[-1].process, ops[-1].f) == ("lab", "end")
    return ops[-1].value


def came_to_rest(ops: list[Op]) -> bool:
    """And nothing went wrong on the lab's own side; that this machine is busy is no fault of the lab."""
    end = ending(ops)
    return end["drained"] is True and end["why"] in ("", TOO_BUSY)
