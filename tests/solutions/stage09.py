"""Stage 9: a limit, and a word for it. What is refused has cost nothing."""

import argparse

import stage01
import stage08
from stage01 import Client, Refused
from stage02 import DONE


class Broker(stage08.Broker):
    def submit(self, payload: str, client: Client) -> str:
        self.need_room(1)
        return super().submit(payload, client)

    def need_room(self, jobs: int) -> None:
        limit = self.options.max_jobs
        if limit and sum(job.state != DONE for job in self.jobs.values()) + jobs > limit:
            raise Refused("QUEUE_FULL come again when some are done")

    @staticmethod
    def arguments(parser: argparse.ArgumentParser) -> None:
        stage08.Broker.arguments(parser)
        parser.add_argument("--max-jobs", type=int, help="that are not done; none if it is not said")


if __name__ == "__main__":
    stage01.serve(Broker)
