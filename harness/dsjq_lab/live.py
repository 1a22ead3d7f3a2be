"""The world of real processes, real sockets and real signals.

One thread waits on everything at once: a channel to each client, over which it reports line by line, and the
warden, who tells of exits. It is the only writer of the history, so the file has one order and is never torn;
each line is on its way to the disk before anybody acts on it.
"""

import json
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from dsjq_lab import platter, preloaded, strace, trace, wallclock
from dsjq_lab.brokers import Broker, Place
from dsjq_lab.door import Door
from dsjq_lab.errors import LabError
from dsjq_lab.history import Header, Op
from dsjq_lab.limits import Descriptors, FileSize, Limit
from dsjq_lab.orders import Order
from dsjq_lab.ports import PortLease
from dsjq_lab.processes import POLL_INTERVAL_S, Process, Processes, wait_until
from dsjq_lab.proxy import Proxy
from dsjq_lab.scenario import Scenario
from dsjq_lab.world import IN_MEMORY, Effect, Event, Exit, Gate, Ready, Signal, Struck

READY_TIMEOUT_S = 10
EFFECT_TIMEOUT_S = 2  # of a signal
WAIT_S_MAX = 0.2  # for a job, before a worker asks again
AUDIT_INTERVAL_S = 0.25
CANARY_INTERVAL_S = 0.01
TRACE = "DSJQ_TRACE"  # environment variable: a file to which a broker may append what it records
STRANGER = ["-P", "-m", "dsjq_lab.clients.stranger"]
NO_FILE = "-shm"  # what processes that use SQLite share: it is made anew
SIGNALS: dict[Signal, int] = {
    "kill": signal.SIGKILL, "term": signal.SIGTERM, "pause": signal.SIGSTOP, "resume": signal.SIGCONT
}  # fmt: skip


class LiveWorld:
    """Implements dsjq_lab.world.World. Leaving it ends all processes."""

    def __init__(self, folder: Path, header: Header, scenario: Scenario, broker: Broker) -> None:
        self.broker = broker
        self.history = (folder / "history.jsonl").open("w", encoding="utf-8", buffering=1)  # line by line
        self.history.write(header.line())
        self.ops_written = 0
        self.events: list[Event] = []
        self.running: dict[str, Process] = {}
        self.channels: dict[str, Channel] = {}
        self.selector = selectors.DefaultSelector()
        self.port_lease = PortLease()
        data = folder / "data"
        data.mkdir()
        options = scenario.broker
        self.door: Door | None = None
        if broker.has_door and (options.tls or options.users):
            self.door = Door(tls=options.tls, users=options.users, host="127.0.0.1")
        self.place = Place(
            host="127.0.0.1",
            port=self.port_lease.port,
            data=data.resolve(),
            ack_timeout_s=options.ack_timeout_s,
            max_attempts=options.max_attempts,
            store=options.store,
            backoff_s=options.backoff_s,
            backoff_cap_s=options.backoff_cap_s,
            door=self.door,
        )
        self.platter = data.with_name("platter")
        of_the_disk = any(fault.of_the_disk for fault in scenario.faults)
        self.shimmed = of_the_disk and self.is_durable and broker.is_python
        self.clock = folder.resolve() / "logs" / "broker.clock" if steps_clock(scenario) else None
        self.clock_off_s = 0.0
        self.strace: strace.Strace | None = None  # while it is attached to the broker
        self.limit: Limit | None = None  # while there is one for the broker
        self.met = False  # it has met it
        self.memory_bytes: int | None = None  # with more it is killed
        self.proxy: Proxy | None = None
        if scenario.network == "record" or any(fault.of_the_network for fault in scenario.faults):
            authority = self.door.introduce("stranger")["ca"] if self.door else ""
            there = broker.reached_at(self.place)
            self.proxy = Proxy(
                (there.host, there.port), scenario.seed, authority,
                tongue=None if self.door else broker.tongue,
            )  # fmt: skip
            self.selector.register(self.proxy, selectors.EVENT_READ, self.hear_proxy)
        self.ready_timeout_s: float = broker.ready_within_s or min(READY_TIMEOUT_S, scenario.finish_within_s)
        self.processes = Processes(folder / "logs")
        self.trace = folder.resolve() / "logs" / "broker.trace"
        self.ready_by_s: float | None = None  # until when a broker that was started must listen
        self.selector.register(self.processes, selectors.EVENT_READ, self.hear_exits)
        self.canary = Canary()

    @property
    def core(self) -> bool:
        return self.broker.core

    @property
    def knows_strangers(self) -> bool:
        return self.door is not None and self.door.users is not None

    @property
    def lateness_ns(self) -> int:
        return self.canary.lateness_ns

    @property
    def own_lateness_ns(self) -> int:
        return self.canary.lateness_ns  # who is late in a busy machine, nobody knows

    @property
    def is_durable(self) -> bool:
        return self.broker.is_durable(self.place.store)

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def spawn(self, name: str, config: Mapping[str, Any]) -> None:
        if name == "broker" and self.broker.attached:
            self.events.append(Ready("broker", None))
            return
        if name == "broker":
            argv = self.broker.command(self.place)
            env = self.broker.environment(self.place) | {TRACE: str(self.trace)}
            theirs = None
            if self.shimmed:
                python, *program = argv
                disk = preloaded.command(python, "shim", self.place.data, self.platter.resolve())
                argv = [*disk, *program]
                theirs = self.open_channel(name)
            if self.clock and self.broker.is_python:
                python, *program = argv
                argv = [*preloaded.command(python, "wallclock", self.clock), *program]
                self.step_clock(0.0)
            self.running[name] = self.processes.spawn(name, argv, env=env, channel=theirs)
            self.ready_by_s = time.monotonic() + self.ready_timeout_s
            return
        role, _, number = name.partition(" ")
        found = self.broker.reached_at(self.place)
        if self.proxy:
            found = self.place._replace(port=self.proxy.port(name))
        told = {**config, **self.broker.introduce(found), "port": found.port}
        told |= {"core": self.core or role == "stranger"}  # whom nobody greets
        wait_s = min(WAIT_S_MAX, self.place.ack_timeout_s / 8)
        told |= {"wait_s": wait_s, "audit_interval_s": AUDIT_INTERVAL_S}
        env = {}
        if self.door:
            told |= self.door.introduce(role)
            env = self.door.environment()
        program = STRANGER if role == "stranger" else self.broker.client()
        argv = [sys.executable, *program, role, number, json.dumps(told)]
        self.running[name] = self.processes.spawn(name, argv, env=env, channel=self.open_channel(name))

    def open_channel(self, name: str) -> socket.socket:
        """The other end."""
        ours, theirs = socket.socketpair()
        channel = self.channels[name] = Channel(ours)
        self.selector.register(ours, selectors.EVENT_READ, lambda: self.hear(name, channel))
        return theirs

    def signal(self, name: str, what: Signal) -> bool:
        if name not in self.running:
            return False  # the broker is not ours
        process, processes = self.running[name], self.processes
        try:
            processes.signal(process, SIGNALS[what])
        except ProcessLookupError:
            return False
        match what:
            case "kill":
                return processes.wait_exit(process, EFFECT_TIMEOUT_S)
            case "pause":
                return processes.wait_stopped(process, EFFECT_TIMEOUT_S)
            case "resume":
                return wait_until(lambda: not processes.is_stopped(process), EFFECT_TIMEOUT_S)
            case "term":
                return True

    def tell(self, name: str, word: str) -> None:
        if channel := self.channels.get(name):  # else it has ended, and that event is still in the queue
            with suppress(ConnectionError):
                channel.socket.sendall(word.encode() + b"\n")

    def disk_unseen(self) -> str:
        if not self.is_durable:
            return IN_MEMORY
        if not self.broker.is_python:
            return "its disk is seen if it is a Python program, started by --broker FILE.py"
        return platter.Platter(str(self.platter)).blind

    def why_no_order(self, order: Order) -> str:
        if not self.is_durable or not (unseen := self.disk_unseen()):
            return self.disk_unseen()
        if self.broker.attached:
            return "the broker was there before the lab, which traces only what it has started"
        if order.on not in strace.CALLS:
            return f"{unseen}; instead there are file_limit, and kill_on with fsync or rename"
        if order.do == "fail" and not self.newest_file():
            return "it has written nothing into its folder"
        refusal = strace.refusal()
        return refusal and f"{unseen}; else strace could do it, but {refusal} ({strace.CURE})"

    def order(self, order: Order) -> bool:
        if self.strace and order.do == "heal":
            self.stop_strace()
        elif not self.disk_unseen():
            self.tell("broker", order.line())
        else:
            newest = self.newest_file() if order.do == "fail" else None
            file = newest and self.place.data / newest[0]
            if not self.signal("broker", "pause"):
                return False
            self.strace = strace.Strace(self.processes, self.running["broker"].pid, order, file)
            return self.signal("broker", "resume") and self.strace.is_attached
        return True

    def stop_strace(self) -> None:
        if self.strace:
            self.strace.let_go()
        self.strace = None

    def lose_power(self) -> int:
        return platter.put_back(str(self.place.data), str(self.platter)) if self.shimmed else 0

    def newest_file(self) -> tuple[str, bytes] | None:
        files = [path for path in self.place.data.rglob("*") if path.is_file() and path.stat().st_size]
        written = [path for path in files if not path.name.endswith(NO_FILE)]
        if not written:
            return None
        newest = max(written, key=lambda path: path.stat().st_mtime_ns)
        return str(newest.relative_to(self.place.data)), newest.read_bytes()

    def overwrite(self, name: str, data: bytes) -> None:
        with (self.place.data / name).open("r+b") as file:
            file.truncate(file.write(data))

    def clock_unreachable(self) -> str:
        if self.broker.is_python:
            return ""
        return "the lab sets the clock of a Python broker alone (--broker FILE.py); or explore it"

    def step_clock(self, seconds: float) -> None:
        assert self.clock
        self.clock_off_s += seconds
        wallclock.set_off(str(self.clock), self.clock_off_s)

    def unlimitable(self) -> str:
        if self.broker.attached:
            return "the broker was there before the lab, which limits only what it has started"
        return "" if sys.platform == "linux" else "the lab can limit processes on Linux alone"

    def limit_descriptors(self, spare: int) -> bool:
        return self.impose(lambda pid: Descriptors(pid, spare))

    def limit_files(self, spare_bytes: int) -> bool:
        logs = [self.trace, self.running["broker"].log]
        return self.impose(lambda pid: FileSize(pid, spare_bytes, self.place.data, logs))

    def impose(self, limit: Callable[[int], Limit]) -> bool:
        self.met, self.limit = False, None
        with suppress(ProcessLookupError):
            self.limit = limit(self.running["broker"].pid)
        return self.limit is not None

    def lift_limit(self) -> None:
        if self.limit is not None:
            with suppress(ProcessLookupError):
                self.limit.lift()
        self.limit = None

    def limit_memory(self, spare_bytes: int) -> bool:
        used = self.resources("broker").get("resident_bytes")
        self.memory_bytes = used and used + spare_bytes
        return used is not None

    def look_at_strace(self) -> None:
        proofs = list(self.strace.bites()) if self.strace else []
        self.events.extend(Struck("broker", proof) for proof in proofs)
        if self.strace and proofs and not self.strace.goes_on:  # another thread has an nth fsync as well
            self.stop_strace()

    def look_at_limits(self) -> None:
        if self.limit is not None and not self.met and self.limit.met:
            self.met = True
            self.events.append(Struck("broker", {"limit": self.limit.limit}))
        if self.memory_bytes is not None:
            used = self.resources("broker").get("resident_bytes", 0)
            if used > self.memory_bytes:
                self.record("lab", "out_of_memory", {"used": used, "limit": self.memory_bytes})
                self.memory_bytes = None
                self.signal("broker", "kill")

    def disturb(self, name: str, verb: str, options: Mapping[str, Any]) -> bool:
        assert self.proxy is not None, "the scenario has a fault of the network"
        return self.proxy.disturb(name, verb, options)

    def calm(self, name: str) -> None:
        assert self.proxy is not None
        self.proxy.calm(name)

    def hear_proxy(self) -> None:
        assert self.proxy is not None
        self.events.extend(Struck(victim, proof) for victim, proof in self.proxy.receive())

    def next_events(self, deadline_ns: int) -> list[Event]:
        while not self.events:
            left_s = (deadline_ns - time.monotonic_ns()) / 1e9
            watches = self.ready_by_s, self.limit, self.memory_bytes, self.strace
            looks = any(watched is not None for watched in watches)
            ready = self.selector.select(max(0.0, POLL_INTERVAL_S if looks else left_s))
            for key, _ in ready:
                key.data()
            self.look_for_broker()
            self.look_at_limits()
            self.look_at_strace()
            if not ready and not self.events and left_s <= 0:
                break
        events, self.events = self.events, []
        return events

    def look_for_broker(self) -> None:
        """While it starts there is nothing to wait on: neither its port nor its log tells when it listens."""
        if self.ready_by_s is None:
            return
        broker = self.running["broker"]
        problem = None
        listens = self.processes.listens(broker, self.place.port)
        if not (listens and self.broker.is_ready(self.place)):
            if not self.processes.has_ended(broker) and time.monotonic() < self.ready_by_s:
                return
            problem = self.processes.not_ready(broker, self.place.port, self.ready_timeout_s)
        self.ready_by_s = None
        self.events.append(Ready("broker", problem))

    def record(
        self, process: str, f: str, value: Mapping[str, Any], type: str = "info", error: str | None = None
    ) -> Op:
        moment = {"time_ns": time.monotonic_ns(), "process": process, "type": type, "f": f}
        return self.write({**moment, "value": value, "error": error})

    def resources(self, name: str) -> dict[str, int]:
        return self.processes.resources(self.running[name]) if name in self.running else {}

    def collect(self) -> None:
        for op in trace.read(self.trace):
            self.write(op)
        for op in self.proxy.record() if self.proxy else ():
            self.write(op)

    def write(self, fields: Mapping[str, Any]) -> Op:
        op = Op(self.ops_written, **fields)
        self.ops_written += 1
        self.history.write(op.line())
        return op

    def hear(self, name: str, channel: "Channel") -> None:
        """What a client reports: operations, and that it waits at a gate. Or the shim in a broker."""
        if channel.ended:
            return  # its exit was heard a moment ago, and its last words with it
        for line in channel.receive():
            message = json.loads(line)
            if "gate" in message:
                self.events.append(Gate(name, message["gate"], message["job"]))
            elif "struck" in message:
                self.events.append(Struck(name, message["struck"]))
            elif "effect" in message:
                self.events.append(Effect(name, message["effect"]))
            else:
                self.events.append(self.write(message))
        if channel.ended:
            self.selector.unregister(channel.socket)

    def hear_exits(self) -> None:
        for process in self.processes.receive():
            channel = self.channels.pop(process.name, None)
            if channel is not None:
                while not channel.ended:  # its last words
                    self.hear(process.name, channel)
                channel.socket.close()
            if process.exit_status is None:
                raise LabError(f"{process.name} has ended, but how?")
            if process.name == strace.NAME:
                continue
            if process.name == "broker":
                self.look_at_limits()  # it may have met one, and ended for that
                self.look_at_strace()
                self.look_for_broker()  # that it never listened says more than that it ended
            self.events.append(Exit(process.name, process.exit_status))

    def close(self) -> None:
        self.canary.close()
        self.selector.close()
        for channel in self.channels.values():
            channel.socket.close()
        self.processes.close()
        if self.proxy:
            self.proxy.close()
        if self.door:
            self.door.close()
        self.port_lease.close()
        self.history.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def steps_clock(scenario: Scenario) -> bool:
    return any(fault.verb == "clock_step" for fault in scenario.faults)


class Channel:
    """The lab's end of the line to one client."""

    def __init__(self, socket: socket.socket) -> None:
        self.socket = socket
        self.rest = b""
        self.ended = False

    def receive(self) -> list[bytes]:
        """What there is. A line that its writer did not live to finish is dropped."""
        try:
            data = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except ConnectionResetError:  # it died with a word of ours unread; what it said came before this
            data = b""
        except BlockingIOError:  # it has died, and left a child that holds its end of the line
            data = b""
        self.ended = not data
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


class Canary:
    """A thread that wants to wake up every 10 ms. How late it does is how late anybody here may be."""

    def __init__(self) -> None:
        self.lateness_ns = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="canary", daemon=True)
        self.thread.start()

    def watch(self) -> None:
        interval_ns = round(CANARY_INTERVAL_S * 1e9)
        before_ns = time.monotonic_ns()
        while not self.over.wait(CANARY_INTERVAL_S):
            now_ns = time.monotonic_ns()
            self.lateness_ns = max(self.lateness_ns, now_ns - before_ns - interval_ns)
            before_ns = now_ns

    def close(self) -> None:
        self.over.set()
        self.thread.join()
