"""Stage 6: a lease ends. Whoever talks to the broker first looks what time has done."""

import argparse
import time

import stage01
import stage05
from stage01 import Client
from stage02 import IN_FLIGHT, Job


class Broker(stage05.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.lease_ends: dict[str, float] = {}  # by id, on the monotonic clock

    def deliver(self, job: Job, client: Client) -> None:
        super().deliver(job, client)
        self.lease_ends[job.id] = time.monotonic() + self.options.ack_timeout

    def leased(self, id: str, client: Client) -> Job:
        self.end_leases()
        return super().leased(id, client)

    def request(self, rest: str, client: Client) -> str:
        self.end_leases()
        return super().request(rest, client)

    def end_leases(self) -> None:
        now = time.monotonic()
        for job in self.jobs.values():
            if job.state == IN_FLIGHT and now >= self.lease_ends[job.id]:
                self.give_back(job)

    @staticmethod
    def arguments(parser: argparse.ArgumentParser) -> None:
        stage05.Broker.arguments(parser)
        parser.add_argument("--ack-timeout", type=float, default=30.0, help="seconds")


if __name__ == "__main__":
    stage01.serve(Broker)
