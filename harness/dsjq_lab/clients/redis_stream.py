"""A Redis stream with one consumer group, and a list of what was delivered and not acknowledged.

| | |
| --- | --- |
| SUBMIT | XADD; the id is that of the entry |
| REQUEST | XAUTOCLAIM of an entry that has been idle for the ack timeout, else XREADGROUP `>` |
| ACK | XACK; refused if it says 0: not pending any more |
| FAIL | XCLAIM with IDLE set to the ack timeout, so that the next request may claim it: Redis 7 has no negative acknowledgement |
| ack timeout | the least idle time that XAUTOCLAIM asks for |
| disconnect | no notion: the pending list keeps what a dead consumer held, until it is claimed |
| limit of attempts | no notion |
"""  # noqa: E501

import os
from contextlib import suppress

import redis

from dsjq_lab.clients.redis_connection import connected
from dsjq_lab.clients.translator import Translator, take_part

GROUP = "workers"


class NotPending(Exception):
    """XACK acknowledged nothing."""


class RedisStream(Translator):
    refusals = (redis.ResponseError, NotPending)

    def connect(self, url: str, queue: str) -> None:
        self.redis, self.queue = connected(url, self.timeout_s), queue
        self.consumer = f"consumer-{os.getpid()}"
        self.idle_ms = round(self.config["ack_timeout_s"] * 1000)
        with suppress(redis.ResponseError):  # BUSYGROUP: it is there
            self.redis.xgroup_create(queue, GROUP, id="0", mkstream=True)

    def submit(self, payload: str) -> str:
        return str(self.redis.xadd(self.queue, {"payload": payload}))

    def request(self) -> tuple[str, str] | None:
        claimed = self.redis.xautoclaim(self.queue, GROUP, self.consumer, self.idle_ms, count=1)[1]
        if not claimed:
            streams = self.redis.xreadgroup(GROUP, self.consumer, {self.queue: ">"}, count=1)
            claimed = streams[0][1] if streams else []
        if not claimed:
            return None
        id, fields = claimed[0]
        self.held[id] = None
        return id, fields["payload"]

    def ack(self, id: str) -> None:
        if not self.redis.xack(self.queue, GROUP, id):
            raise NotPending(id)

    def fail(self, id: str) -> None:
        self.redis.xclaim(self.queue, GROUP, self.consumer, 0, [id], idle=self.idle_ms)


if __name__ == "__main__":
    take_part(RedisStream)
