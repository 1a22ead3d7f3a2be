"""Stage 2: a job is PENDING, then IN_FLIGHT with somebody, then DONE. Nobody watches the threads yet."""

import argparse

import stage01
from stage01 import Client, Refused

PENDING, IN_FLIGHT, DONE = "PENDING", "IN_FLIGHT", "DONE"


class Job:
    def __init__(self, id: str, payload: str) -> None:
        self.id, self.payload = id, payload
        self.state = PENDING
        self.holder: Client | None = None


class Broker(stage01.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.jobs: dict[str, Job] = {}  # by id, in the order in which they came
        self.commands |= {"REQUEST": self.request, "ACK": self.ack, "FAIL": self.fail}

    def submit(self, payload: str, client: Client) -> str:
        id = next(self.ids)
        self.jobs[id] = Job(id, payload)
        return f"JOB_ID {id}"

    def request(self, rest: str, client: Client) -> str:
        if rest:
            raise Refused("BAD_ARGUMENTS REQUEST takes none")
        waiting = self.waiting()
        if not waiting:
            return "EMPTY"
        self.deliver(waiting[0], client)
        return f"JOB {waiting[0].id} {waiting[0].payload}"

    def waiting(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == PENDING]

    def ack(self, id: str, client: Client) -> str:
        self.finish(self.leased(id, client))
        return "OK"

    def fail(self, id: str, client: Client) -> str:
        self.give_back(self.leased(id, client))
        return "OK"

    def leased(self, id: str, client: Client) -> Job:
        job = self.jobs.get(id)
        if job is None:
            raise Refused(f"NO_SUCH_JOB {id}")
        if job.state != IN_FLIGHT or job.holder is not client:
            raise Refused(f"STALE job {id} is not yours")
        return job

    def deliver(self, job: Job, client: Client) -> None:
        job.state, job.holder = IN_FLIGHT, client

    def finish(self, job: Job) -> None:
        job.state, job.holder = DONE, None

    def give_back(self, job: Job) -> None:
        job.state, job.holder = PENDING, None


if __name__ == "__main__":
    stage01.serve(Broker)
