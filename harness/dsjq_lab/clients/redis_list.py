"""A Redis list as a queue, as in a thousand tutorials: pushed at one end, popped at the other.

| | |
| --- | --- |
| SUBMIT | LPUSH; the job's id is the lab's own name of it, since a list has none |
| REQUEST | RPOP; EMPTY if it brings nothing. The job is now in the worker's hands alone |
| ACK | PING: there is nothing to tell that Redis would know of |
| FAIL | RPUSH: back to the end from which it was popped |
| ack timeout, disconnect, limit of attempts | no notion of them |
"""


import redis

from dsjq_lab.clients.redis_connection import connected
from dsjq_lab.clients.translator import Translator, nonce_of, take_part


class RedisList(Translator):
    refusals = (redis.ResponseError,)

    def connect(self, url: str, queue: str) -> None:
        self.redis, self.queue = connected(url, self.timeout_s), queue

    def submit(self, payload: str) -> str:
        self.redis.lpush(self.queue, payload)
        return nonce_of(payload)

    def request(self) -> tuple[str, str] | None:
        payload = self.redis.rpop(self.queue)
        if payload is None:
            return None
        id = nonce_of(payload)
        self.held[id] = payload
        return id, payload

    def ack(self, id: str) -> None:
        self.redis.ping()

    def fail(self, id: str) -> None:
        self.redis.rpush(self.queue, self.held[id])


if __name__ == "__main__":
    take_part(RedisList)
