"""Real brokers: how each server is started for one experiment, or reached where it already runs.

A server that the lab starts is a child like any other: in the foreground, on loopback, on a port of the lab,
with its data in the folder of the run, and killed by its process id. What it is asked, and by whom, is in
clients/. What cannot be asked of it is `not_asked`, with the reason; what it does otherwise than the lab's
own broker is no exception here, but a deviation with its source in the scenario that shows it.
"""

import importlib.util
import math
import os
import shutil
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from dsjq_lab.brokers.broker import Broker, Place
from dsjq_lab.errors import LabError
from dsjq_lab.ports import PortLease

OWN_CLIENT = "its own client library speaks for the workers, and sees no single replies"
OWN_POOLS = "a server with pools and caches of its own is not at rest before its first use"


class Real(Broker):
    core = True
    is_python = False
    limits_attempts = False
    tongue = None
    not_asked: ClassVar[Mapping[str, str]] = {"replies_match": OWN_CLIENT, "no_leak": OWN_POOLS}
    scheme: ClassVar[str]  # of its address
    ports: ClassVar[Mapping[str, int]]  # where it listens, by scheme, if an address does not say
    module: ClassVar[str]  # of its clients
    library: ClassVar[str]  # that these need, as it is imported
    server: ClassVar[str]  # the program
    package: ClassVar[str]  # of Debian, which has it

    def __init__(self, address: str = "") -> None:
        """With an address, one that already runs there. Raises LabError if something is missing here."""
        self.attached = address
        missing = [f"{what}: {cure}" for what, cure in self.lacks(is_there=bool(address))]
        if missing:
            raise LabError("\n  ".join([f"{self.name} cannot be studied here:", *missing]))
        self.queue = f"dsjq-lab-{os.getpid()}-{time.time_ns()}"  # nobody else's, also on a shared server

    @classmethod
    def lacks(cls, is_there: bool = False) -> list[tuple[str, str]]:
        """What is missing on this machine, each with its cure; a server that `is_there` is not."""
        found = []
        if not is_there and cls.program() is None:
            found.append((f"no {cls.server} on PATH", f"apt-get install {cls.package}"))
        if importlib.util.find_spec(cls.library) is None:
            found.append((f"no Python module {cls.library}", "pip install 'dsjq-lab[brokers]'"))
        return found

    @classmethod
    def program(cls) -> str | None:
        return shutil.which(cls.server)

    def client(self) -> list[str]:
        return ["-P", "-m", f"dsjq_lab.clients.{self.module}"]

    def reached_at(self, place: Place) -> Place:
        there = urlsplit(self.attached)
        if not there.hostname:
            return place
        return place._replace(host=there.hostname, port=there.port or self.ports[there.scheme])

    def introduce(self, place: Place) -> dict[str, Any]:
        there = urlsplit(self.attached or f"{self.scheme}://")
        who, at, _ = there.netloc.rpartition("@")
        host = f"[{place.host}]" if ":" in place.host else place.host
        return {
            "url": there._replace(netloc=f"{who}{at}{host}:{place.port}").geturl(),
            "queue": self.queue,
            "durable": self.is_durable(place.store),
            "max_attempts": place.max_attempts,
        }

    def options(self) -> dict[str, Any]:
        return super().options() | ({"address": without_secrets(self.attached)} if self.attached else {})

    def command(self, place: Place) -> list[str]:
        return [self.program() or self.server, *self.arguments(place, self.is_durable(place.store))]

    @abstractmethod
    def arguments(self, place: Place, durable: bool) -> list[str]: ...


class Redis(Real):
    library, server, package = "redis", "redis-server", "redis-server"
    ports: ClassVar = {"redis": 6379}

    def arguments(self, place: Place, durable: bool) -> list[str]:
        keeps = {"--appendonly": "yes", "--appendfsync": "always"} if durable else {"--appendonly": "no"}
        where = {"--bind": place.host, "--port": f"{place.port}", "--dir": f"{place.data}", "--save": ""}
        return [word for option in (where | keeps).items() for word in option]


class RedisList(Redis):
    name, scheme, module = "redis-list", "redis", "redis_list"
    not_asked: ClassVar = {
        **Real.not_asked,
        "redelivered_in_time": "a list gives nothing back (what that means, no_lost_job tells)",
        "late_ack_refused": "a list has no leases that could end",
    }
    lacks_topics = "who pushes a job names the list"


class RedisStream(Redis):
    name, scheme, module = "redis-stream", "redis", "redis_stream"
    lacks_topics = "who adds a job names the stream"
    gives_back_at_disconnect = False


class Beanstalkd(Real):
    name, scheme, module = "beanstalkd", "beanstalk", "beanstalkd"
    library, server, package = "greenstalk", "beanstalkd", "beanstalkd"
    ports: ClassVar = {"beanstalk": 11300}
    lacks_topics = "a job is put into one tube"
    wait_s, lease_s_min = 1, 3  # a request takes less than half of a lease

    def ack_timeout_s(self, wanted_s: float) -> float:
        """Whole seconds."""
        return float(max(self.lease_s_min, math.ceil(wanted_s)))

    def introduce(self, place: Place) -> dict[str, Any]:
        return {**super().introduce(place), "wait_s": self.wait_s}

    def arguments(self, place: Place, durable: bool) -> list[str]:
        keeps = ["-b", f"{place.data}", "-f", "0"] if durable else []
        return ["-l", place.host, "-p", f"{place.port}", *keeps]


class BeanstalkdPolled(Beanstalkd):
    """Its clients do not wait for a job: they ask, and ask again."""

    name = "beanstalkd-polled"
    wait_s, lease_s_min = 0, 1


class Nats(Real):
    name, scheme, module = "nats", "nats", "nats"
    library, server, package = "nats", "nats-server", "nats-server"
    ports: ClassVar = {"nats": 4222}
    gives_back_at_disconnect = False
    limits_attempts = True
    lacks_topics = "a stream keeps one message for all its consumers, who filter with wildcards of their own"

    def arguments(self, place: Place, durable: bool) -> list[str]:
        where = ["--addr", place.host, "--port", f"{place.port}"]
        return [*where, "--jetstream", "--store_dir", f"{place.data}"]


class RabbitMQ(Real):
    name, scheme, module = "rabbitmq", "amqp", "rabbitmq"
    library, server, package = "pika", "rabbitmq-server", "rabbitmq-server"
    ports: ClassVar = {"amqp": 5672, "amqps": 5671}
    ready_within_s = 60.0  # an Erlang machine, a database and a cluster of one
    scripts = Path("/usr/lib/rabbitmq/bin")  # Debian's program on PATH changes user, and hides its child

    def __init__(self, address: str = "") -> None:
        super().__init__(address)
        self.private: dict[str, PortLease] = {}

    @classmethod
    def program(cls) -> str | None:
        return shutil.which(cls.server, path=f"{cls.scripts}{os.pathsep}{os.environ.get('PATH', '')}")

    def arguments(self, place: Place, durable: bool) -> list[str]:
        return []

    def queue_arguments(self, place: Place) -> dict[str, Any]:
        """What kind of queue it is."""
        return {}

    def introduce(self, place: Place) -> dict[str, Any]:
        return {**super().introduce(place), "arguments": self.queue_arguments(place)}

    def port(self, purpose: str) -> str:
        """A machine's Erlang programs share a port mapper, which outlives them: ours has its own port."""
        if purpose not in self.private:
            self.private[purpose] = PortLease()
        return str(self.private[purpose].port)

    def environment(self, place: Place) -> dict[str, str]:
        data = place.data
        return {
            "RUNNING_UNDER_SYSTEMD": "true",  # becomes the server, instead of waiting for it as a shell
            "HOME": f"{data}",  # for Erlang's cookie
            "ERL_EPMD_PORT": self.port("mapper"),
            "ERL_EPMD_ADDRESS": place.host,
            "RABBITMQ_NODENAME": "dsjq-lab@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": place.host,
            "RABBITMQ_NODE_PORT": f"{place.port}",
            "RABBITMQ_DIST_PORT": self.port("nodes"),
            "RABBITMQ_MNESIA_BASE": f"{data}/mnesia",
            "RABBITMQ_LOG_BASE": f"{data}",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": f"{data}/none",
            "RABBITMQ_CONFIG_FILE": f"{data}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{data}/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                f"-rabbit consumer_timeout {round(place.ack_timeout_s * 1000)} +sbwt none",
        }  # fmt: skip


class RabbitMQQuorum(RabbitMQ):
    """Its queue is a log that nodes agree on: here one node alone."""

    name = "rabbitmq-quorum"
    limits_attempts = True
    declared = False

    def is_durable(self, store: str) -> bool:
        return True  # it knows no other way

    def queue_arguments(self, place: Place) -> dict[str, Any]:
        return {"x-queue-type": "quorum", "x-delivery-limit": place.max_attempts - 1}

    def is_ready(self, place: Place) -> bool:
        """When its name is on the disk, a second after its declaration: one that is killed before that comes
        back without a leader, and answers nobody.
        """
        if not self.declared:
            from dsjq_lab.clients.rabbitmq import declare

            told = self.introduce(place)
            self.declared = declare(told["url"], self.queue, told["arguments"])
        names = place.data.glob("mnesia/*/quorum/*/names.dets")
        return any(self.queue.encode() in file.read_bytes() for file in names)


KINDS: dict[str, type[Real]] = {
    kind.name: kind
    for kind in (RabbitMQ, RabbitMQQuorum, RedisList, RedisStream, Nats, Beanstalkd, BeanstalkdPolled)
}
SCHEMES: dict[str, type[Real]] = {
    "amqp": RabbitMQ,
    "amqps": RabbitMQ,
    "redis": RedisStream,
    "redis-list": RedisList,
    "nats": Nats,
    "beanstalk": Beanstalkd,
}


def at(address: str) -> Real:
    """The one that runs there. `redis-list://…` is a Redis, too, of which a list is asked for."""
    scheme, _, rest = address.partition("://")
    kind = SCHEMES[scheme]
    return kind(f"{kind.scheme if scheme == 'redis-list' else scheme}://{rest}")


def without_secrets(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
