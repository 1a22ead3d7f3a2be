"""beanstalkd: one tube, one reservation a job, and a time-to-run that the server keeps.

| | |
| --- | --- |
| SUBMIT | put with the ack timeout as its time-to-run, in whole seconds |
| REQUEST | reserve-with-timeout 1; EMPTY on TIMED_OUT and on DEADLINE_SOON. Who polls asks with 0, and learns what comes of it (docs/real-brokers.md) |
| ACK | delete; NOT_FOUND is a refusal |
| FAIL | release without delay |
| ack timeout | time-to-run: whole seconds, and 3 at least where a request takes 1 s, so that it has its answer in time |
| disconnect | the server releases at once |
| limit of attempts | no notion: a client may bury a job, the server never does |
"""  # noqa: E501

from urllib.parse import urlsplit

import greenstalk

from dsjq_lab.clients.translator import Translator, take_part

PORT = 11300  # where it listens if nothing else is said


class Beanstalkd(Translator):
    refusals = (greenstalk.Error,)

    def connect(self, url: str, queue: str) -> None:
        address = urlsplit(url)
        host, port = address.hostname or "127.0.0.1", address.port or PORT
        self.client = greenstalk.Client((host, port), use=queue, watch=queue)

    def submit(self, payload: str) -> str:
        return str(self.client.put(payload, ttr=round(self.config["ack_timeout_s"])))

    def request(self) -> tuple[str, str] | None:
        try:
            job = self.client.reserve(timeout=self.config["wait_s"])
        except (greenstalk.TimedOutError, greenstalk.DeadlineSoonError):
            return None
        self.held[str(job.id)] = job
        return str(job.id), job.body

    def ack(self, id: str) -> None:
        self.client.delete(self.held[id])

    def fail(self, id: str) -> None:
        self.client.release(self.held[id])


if __name__ == "__main__":
    take_part(Beanstalkd)
