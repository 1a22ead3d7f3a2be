"""Stage 10: a copy is a job in a named queue, and bindings say into which queues one goes."""

import argparse
from collections import defaultdict

import stage01
import stage09
from stage01 import Client, Refused
from stage02 import Job


class Broker(stage09.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        # All of this is filled while the journal is read.
        self.queues = {""}
        self.exchanges: dict[str, str] = {}  # name: its kind
        self.bindings: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)  # exchange: (queue, key)
        self.queue_of: dict[str, str] = {}  # by id
        self.queue = ""  # of the copy that is being made
        super().__init__(options)
        self.commands |= {"DECLARE": self.declare, "BIND": self.bind, "PUBLISH": self.publish,
                          "RESERVE": self.reserve}  # fmt: skip

    def declare(self, rest: str, client: Client | None = None) -> str:
        kind, _, name = rest.partition(" ")
        if kind not in ("queue", *KINDS) or not name:
            raise Refused("BAD_ARGUMENTS write DECLARE queue|direct|fanout|topic NAME")
        if kind == "queue":
            self.queues.add(name)
        elif self.exchanges.setdefault(name, kind) != kind:
            raise Refused(f"KIND_CONFLICT {name} is a {self.exchanges[name]} exchange")
        self.write(what="declared", id="", payload=rest)
        return "OK"

    def bind(self, rest: str, client: Client | None = None) -> str:
        queue, _, words = rest.partition(" ")
        exchange, _, key = words.partition(" ")
        self.look_up(exchange)
        if queue not in self.queues:
            raise Refused(f"NO_SUCH_QUEUE {queue}")
        self.bindings[exchange].append((queue, key))
        self.write(what="bound", id="", payload=rest)
        return "OK"

    def publish(self, rest: str, client: Client) -> str:
        head, _, payload = rest.partition(" -- ")
        exchange, _, key = head.partition(" ")
        fits = KINDS[self.look_up(exchange)]
        queues = dict.fromkeys(queue for queue, bound in self.bindings[exchange] if fits(bound, key))
        if not queues:
            raise Refused(f"UNROUTABLE nothing is bound to {exchange} with this key")
        self.need_room(len(queues))  # for all copies, or for none
        ids = []
        for self.queue in queues:
            ids.append(self.submit(payload, client).removeprefix("JOB_ID "))
        self.queue = ""
        return f"JOB_IDS [{','.join(ids)}]"

    def look_up(self, exchange: str) -> str:
        if exchange not in self.exchanges:
            raise Refused(f"NO_SUCH_EXCHANGE {exchange}")
        return self.exchanges[exchange]

    def reserve(self, rest: str, client: Client) -> str:
        option, _, queue = rest.partition("=")
        if option != "queue":
            raise Refused("BAD_ARGUMENTS write RESERVE queue=NAME")
        self.end_leases()
        for job in self.waiting(queue):
            self.deliver(job, client)
            attempt = self.attempts[job.id]
            return (f"RESERVED id={job.id} token={attempt} attempt={attempt} lease={self.options.ack_timeout}"
                    f" -- {job.payload}")  # fmt: skip
        return "EMPTY"

    def waiting(self, queue: str = "") -> list[Job]:
        return [job for job in super().waiting() if self.queue_of.get(job.id, "") == queue]

    def leased(self, rest: str, client: Client) -> Job:
        id, _, token = rest.partition(" ")
        job = super().leased(id, client)
        if token not in ("", str(self.attempts[id])):
            raise Refused(f"STALE job {id} has been delivered again")
        return job

    def write(self, **record: str) -> None:
        if record["what"] == "submitted" and self.queue:
            self.queue_of[record["id"]] = record["queue"] = self.queue
        super().write(**record)

    def replay(self, what: str, id: str, payload: str = "", queue: str = "") -> None:
        match what:
            case "declared":
                self.declare(payload)
            case "bound":
                self.bind(payload)
            case _:
                super().replay(what, id, payload)
        if queue:
            self.queue_of[id] = queue


def matches(pattern: str, key: str) -> bool:
    return words_match(*(text.split(".") if text else [] for text in (pattern, key)))


def words_match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return words_match(rest, words) or (bool(words) and words_match(pattern, words[1:]))
    return bool(words) and first in ("*", words[0]) and words_match(rest, words[1:])


KINDS = {"direct": str.__eq__, "fanout": lambda bound, key: True, "topic": matches}

if __name__ == "__main__":
    stage01.serve(Broker)
