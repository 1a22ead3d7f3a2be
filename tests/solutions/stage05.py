"""Stage 5: attempts are counted, and the job that has used up its own is DEAD: kept, and given to nobody."""

import argparse
from collections import Counter

import stage01
import stage04
from stage01 import Client
from stage02 import Job

DEAD = "DEAD"


class Broker(stage04.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.attempts: Counter[str] = Counter()  # by id

    def deliver(self, job: Job, client: Client) -> None:
        super().deliver(job, client)
        self.attempts[job.id] += 1

    def give_back(self, job: Job) -> None:
        super().give_back(job)
        if self.attempts[job.id] >= self.options.max_attempts:
            job.state = DEAD

    @staticmethod
    def arguments(parser: argparse.ArgumentParser) -> None:
        stage04.Broker.arguments(parser)
        parser.add_argument("--max-attempts", type=int, default=5)


if __name__ == "__main__":
    stage01.serve(Broker)
