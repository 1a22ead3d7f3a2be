"""Stage 7: what was confirmed is in a file before it is confirmed. The next broker reads it and goes on."""

import argparse
import itertools
import json
from pathlib import Path
from typing import IO

import stage01
import stage06
from stage01 import Client
from stage02 import DONE, Job


class Broker(stage06.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.file: IO[bytes] | None = None
        if options.data:
            path = options.data / "journal"
            if path.exists():
                self.recover(path)
            self.file = path.open("ab", buffering=0)
        self.ids = map(str, itertools.count(len(self.jobs) + 1))

    def recover(self, path: Path) -> None:
        for line in path.read_bytes().splitlines():
            self.replay(**json.loads(line))
        for job in self.jobs.values():
            if job.state != DONE:
                self.give_back(job)  # a restart ends every lease

    def replay(self, what: str, id: str, payload: str = "") -> None:
        match what:
            case "submitted":
                self.jobs[id] = Job(id, payload)
            case "delivered":
                self.attempts[id] += 1
            case "done":
                self.jobs[id].state = DONE

    def write(self, **record: str) -> None:
        if self.file:
            self.file.write(json.dumps(record).encode() + b"\n")

    def submit(self, payload: str, client: Client) -> str:
        reply = super().submit(payload, client)
        self.write(what="submitted", id=reply.removeprefix("JOB_ID "), payload=payload)
        return reply

    def deliver(self, job: Job, client: Client) -> None:
        self.write(what="delivered", id=job.id)
        super().deliver(job, client)

    def finish(self, job: Job) -> None:
        self.write(what="done", id=job.id)
        super().finish(job)

    @staticmethod
    def arguments(parser: argparse.ArgumentParser) -> None:
        stage06.Broker.arguments(parser)
        parser.add_argument("--data", type=Path)


if __name__ == "__main__":
    stage01.serve(Broker)
