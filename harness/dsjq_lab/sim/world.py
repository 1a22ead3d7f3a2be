"""The world of simulated processes: what live.py is for real ones; conductor, clients and judge are the same.

The conductor is a task like any other, the only one that belongs to no process. The lab's end of a client's
channel is no socket: what a client reports is heard in the instant in which it is said.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any

from dsjq_lab import trace, workload
from dsjq_lab.brokers import Broker, Place
from dsjq_lab.brokers.command import PYTHON
from dsjq_lab.errors import LabError
from dsjq_lab.history import Op
from dsjq_lab.live import TRACE
from dsjq_lab.orders import Order
from dsjq_lab.processes import describe
from dsjq_lab.scenario import Scenario
from dsjq_lab.sim.disk import Disk, Inode
from dsjq_lab.sim.kernel import Kernel, sim
from dsjq_lab.sim.library import SimUnsupported
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.middle import Middle
from dsjq_lab.sim.net import Connection, Endpoint, Network, key
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.tasks import Task
from dsjq_lab.warden import CHANNEL
from dsjq_lab.world import IN_MEMORY, Effect, Event, Exit, Gate, Ready, Signal, Struck

CLIENT = Path(workload.__file__)
PORT = 4730
DATA, TRACE_FILE = Path("/lab/data"), Path("/lab/broker.trace")
OUTPUT_LINES_SHOWN = 5
LULL_S_MAX = 1.0


def not_ready(process: Process) -> LabError:
    """Why it does not listen."""
    what = f"the broker ended before it listened: {describe(process.status)}"
    words = "".join(process.output).splitlines()[-OUTPUT_LINES_SHOWN:]
    return LabError("\n".join([what, *(f"    {line}" for line in words)]))


class SimWorld:
    """Implements dsjq_lab.world.World."""

    def __init__(self, kernel: Kernel, loader: Loader, scenario: Scenario, broker: Broker) -> None:
        self.kernel, self.loader, self.broker = kernel, loader, broker
        self.network = kernel.network = Network()
        self.network.on_listen = self.note_listener
        kernel.on_death, kernel.on_deadlock = self.note_death, self.note_deadlock
        self.disk = Disk()
        self.disk.make_folders(str(DATA))
        self.disk.watched = str(DATA)
        self.disk.on_struck = lambda value: self.happened(Struck("broker", value))
        options = scenario.broker
        if options.tls or options.users:
            raise SimUnsupported("no door (tls, users) in the simulated world; play it: dsjq-lab run")
        self.place = Place(
            "127.0.0.1", PORT, DATA, options.ack_timeout_s, options.max_attempts, options.store,
            options.backoff_s, options.backoff_cap_s,
        )  # fmt: skip
        self.ops: list[Op] = []
        self.events: list[Event] = []
        self.waiters: list[Task] = []  # the conductor, when it waits for the next event
        self.running: dict[str, Process] = {}
        self.channels: dict[str, Connection] = {}  # the lab's ends of the lines to the clients
        self.starting = False  # the broker, which does not listen yet
        # After which a client that has nothing to do looks again: a look takes computing, and waiting none.
        self.lull_s = min(LULL_S_MAX, options.ack_timeout_s / 4)
        self.late_ns = 0
        self.is_overheard = scenario.network == "record" or any(f.of_the_network for f in scenario.faults)
        self.seed = scenario.seed
        self.middle: Middle | None = None  # from the broker's first start on, where it is needed

    @property
    def core(self) -> bool:
        return self.broker.core

    @property
    def knows_strangers(self) -> bool:
        return False

    @property
    def ready_timeout_s(self) -> float:
        return 0  # a start costs no time here

    @property
    def lateness_ns(self) -> int:
        return self.late_ns + self.kernel.stalled_ns

    @property
    def own_lateness_ns(self) -> int:
        """A stall befalls the broker or a client, and everybody is given its length on top (lateness_ns)."""
        return self.late_ns

    @property
    def is_durable(self) -> bool:
        return self.broker.is_durable(self.place.store)

    def now_ns(self) -> int:
        return self.kernel.now_ns

    # -- Processes

    def spawn(self, name: str, config: Mapping[str, Any]) -> None:
        if name == "broker":
            if self.is_overheard and self.middle is None:
                self.middle = self.new_middle()
            self.launch(name)
            return
        role, _, number = name.partition(" ")
        told = {**config, "port": PORT, "core": self.core}
        told |= {"wait_s": self.lull_s, "audit_interval_s": self.lull_s}
        ours, theirs = Connection.pair()
        process = self.new_process(name, [str(CLIENT)])
        process.environ[CHANNEL] = str(process.open(Endpoint(self.network, theirs)))
        process.begin(lambda: self.client(process).main(role, number, told))
        self.channels[name] = ours
        process.report = partial(self.hear, name)

    def client(self, process: Process) -> Any:
        """The program of the clients, which spell nothing out for the lab here: no broker hears it."""
        module = self.loader.lab_module(process, CLIENT)
        module.Channel._send = speak
        return module

    def launch(self, name: str) -> Process:
        """Starts what the broker's command would start, if that is a Python program."""
        if self.broker.client()[-1] != workload.__file__:
            raise SimUnsupported(f"{self.broker.name}: only clients that speak lines can be explored")
        executable, *arguments = self.broker.command(self.place)
        if executable != sys.executable and not PYTHON.fullmatch(Path(executable).name):
            raise SimUnsupported(f"{executable} is no Python program; only these can be explored")
        if arguments[0] == "-m":
            path, module, argv = None, arguments[1], [arguments[1], *arguments[2:]]
        else:
            path, module, argv = Path(arguments[0]), None, arguments
        process = self.new_process(name, argv)
        process.environ.update(self.broker.environment(self.place), **{TRACE: str(TRACE_FILE)})
        self.starting = True
        process.begin(lambda: self.loader.run(process, path, module))
        return process

    def new_process(self, name: str, argv: list[str]) -> Process:
        process = self.running[name] = Process(self.kernel, name, argv, disk=self.disk)
        process.on_exit = partial(self.note_exit, process)
        return process

    def new_middle(self) -> Middle:
        middle = Middle(self.kernel, self.network, self.disk, ("127.0.0.1", PORT), self.seed,
                        lambda victim, proof: self.happened(Struck(victim, proof)))  # fmt: skip
        self.network.pair = middle.pair
        return middle

    def note_listener(self, address: object) -> None:
        if key(address) == PORT and self.starting:
            self.starting = False
            self.happened(Ready("broker", None))

    def signal(self, name: str, what: Signal) -> bool:
        self.kernel.operation(name)
        process = self.running[name]
        if not process.alive:
            return False
        match what:
            case "kill":
                self.kernel.end(process, -9)
            case "term":
                process.signal(15)
            case "pause":
                self.kernel.pause(process)
            case "resume":
                self.kernel.resume(process)
        return True

    def tell(self, name: str, word: str) -> None:
        if channel := self.channels.get(name):
            channel.outgoing.put(word.encode() + b"\n")

    def disk_unseen(self) -> str:
        return "" if self.is_durable else IN_MEMORY

    def why_no_order(self, order: Order) -> str:
        return self.disk_unseen()

    def order(self, order: Order) -> bool:
        self.disk.orders.give(order)
        return True

    def lose_power(self) -> int:
        """Its trace is kept by the lab, elsewhere. What is gone is tossed for, and found out by nobody."""
        self.disk.folder(DATA).cut_power(self.kernel.draw)
        return 0

    def newest_file(self) -> tuple[str, bytes] | None:
        """The longest, since nobody notes when a file was written; here that is the journal."""
        length, name = max(self.lengths(), default=(0, ""))
        return (name, bytes(self.file(name).data)) if length else None

    def lengths(self) -> list[tuple[int, str]]:
        names = self.disk.folder(DATA).names
        return [(len(file.data), name) for name, file in names.items() if isinstance(file, Inode)]

    def overwrite(self, name: str, data: bytes) -> None:
        file = self.file(name)
        file.truncate(0)
        file.write(0, data)
        file.sync()

    def file(self, name: str) -> Inode:
        file = self.disk.find(DATA / name)
        assert isinstance(file, Inode)
        return file

    def clock_unreachable(self) -> str:
        return ""

    def step_clock(self, seconds: float) -> None:
        self.kernel.calendar_s += seconds

    def unlimitable(self) -> str:
        return ""  # limit_… say more

    def limit_descriptors(self, spare: int) -> bool:
        raise SimUnsupported("fd_limit: the simulated machine always has descriptors; play it: dsjq-lab run")

    def limit_files(self, spare_bytes: int) -> bool:
        longest, _ = max(self.lengths(), default=(0, ""))
        self.disk.length_max = longest + spare_bytes
        return True

    def lift_limit(self) -> None:
        self.disk.length_max = None

    def limit_memory(self, spare_bytes: int) -> bool:
        raise SimUnsupported("memory_limit: nobody counts memory in the simulation; play it: dsjq-lab run")

    def disturb(self, name: str, verb: str, options: Mapping[str, Any]) -> bool:
        return self.middle is not None and self.middle.disturb(name, verb, options)

    def calm(self, name: str) -> None:
        if self.middle:
            self.middle.calm(name)

    def resources(self, name: str) -> dict[str, int]:
        process = self.running[name]
        if not process.alive:
            return {}
        return {"threads": len(process.tasks), "descriptors": len(process.descriptors), "resident_bytes": 0}

    def collect(self) -> None:
        for message in self.middle.said if self.middle else ():
            self.write(message.op())
        if self.disk.exists(TRACE_FILE):
            file = self.disk.find(TRACE_FILE)
            assert isinstance(file, Inode)
            for op in trace.parse(bytes(file.data), TRACE_FILE):
                self.write(op)

    # -- Events and history

    def next_events(self, deadline_ns: int) -> list[Event]:
        self.kernel.operation()
        while not self.events:
            if self.kernel.now_ns >= deadline_ns:
                self.late_ns = max(self.late_ns, self.kernel.now_ns - deadline_ns)
                break
            self.kernel.block("the next event", deadline_ns, self.waiters)
        events, self.events = self.events, []
        return events

    def happened(self, event: Event) -> None:
        """The conductor is not woken for what it only counts, but finds it when something else wakes it."""
        self.events.append(event)
        if not isinstance(event, Op):
            self.kernel.wake_all(self.waiters)

    def record(
        self, process: str, f: str, value: Mapping[str, Any], type: str = "info", error: str | None = None
    ) -> Op:
        moment = {"time_ns": self.kernel.now_ns, "process": process, "type": type, "f": f}
        return self.write({**moment, "value": value, "error": error})

    def write(self, fields: Mapping[str, Any]) -> Op:
        op = Op(len(self.ops), **fields)
        self.ops.append(op)
        return op

    def hear(self, name: str, message: dict[str, Any]) -> None:
        if "gate" in message:
            self.happened(Gate(name, message["gate"], message["job"]))
        elif "effect" in message:
            self.happened(Effect(name, message["effect"]))
        else:
            self.happened(self.write(message))

    def note_exit(self, process: Process, status: int) -> None:
        self.channels.pop(process.name, None)
        if process.name == "broker" and self.starting:
            self.starting = False
            self.happened(Ready("broker", not_ready(process)))
        self.happened(Exit(process.name, status))

    def note_death(self, task: Task, problem: BaseException) -> None:
        """A thread has died of an exception that nobody caught."""
        frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(problem.__traceback__)]
        studied = {file for file, _ in self.loader.points}  # what the lab stands in for tells nobody anything
        file, line = next((frame for frame in reversed(frames) if frame[0] in studied), frames[-1])
        place = f"{Path(file).name}:{line}"
        what = f"{type(problem).__name__}: {problem}"
        self.record("lab", "thread_died", {"thread": task.name, "problem": what, "place": place})

    def note_deadlock(self, circle: list[tuple[Task, Any]]) -> None:
        waits = [f"{task} waits for {lock}, held by {lock.owner}" for task, lock in circle]
        self.record("lab", "deadlock", {"circle": waits, "threads": [task.name for task, _ in circle]})


def speak(channel: Any, message: dict[str, Any]) -> None:
    """A client's word to the lab, which is heard as it is and in the instant in which it is said.

    No point: nobody in the experiment sees it, so who runs before or after it makes no difference to them.
    """
    process = sim().current.process
    assert process is not None
    process.report(message)
