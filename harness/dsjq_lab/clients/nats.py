"""NATS JetStream: a stream, and one durable pull consumer that all workers share.

| | |
| --- | --- |
| SUBMIT | a publish that waits for its PubAck; the id is the sequence number |
| REQUEST | CONSUMER.MSG.NEXT with no_wait; EMPTY on status 404 |
| ACK | +ACK to the message's reply subject, and waits for the server's word (a double ack) |
| FAIL | -NAK, likewise |
| ack timeout | AckWait |
| disconnect | no notion: the message waits for its AckWait |
| limit of attempts | MaxDeliver; a message that has reached it stays in the stream, undelivered |
"""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import nats
from nats.errors import NoRespondersError
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig
from nats.js.errors import APIError

from dsjq_lab.clients.translator import Translator, take_part

CONSUMER = "workers"
STATUS = "Status"  # header of a reply that is no message


class Nats(Translator):
    refusals = (APIError, NoRespondersError)

    def connect(self, url: str, queue: str) -> None:
        self.runner = asyncio.Runner()
        self.queue = queue
        self.nats = self.wait(nats.connect(url, allow_reconnect=False, connect_timeout=self.timeout_s))
        self.stream = self.nats.jetstream(timeout=self.timeout_s)
        storage = StorageType.FILE if self.config["durable"] else StorageType.MEMORY
        self.wait(self.stream.add_stream(StreamConfig(name=queue, subjects=[queue], storage=storage)))
        self.wait(self.stream.add_consumer(queue, ConsumerConfig(
            durable_name=CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.config["ack_timeout_s"],
            max_deliver=self.config["max_attempts"],
        )))  # fmt: skip

    def wait(self, question: Awaitable[Any]) -> Any:
        return self.runner.run(asyncio.wait_for(question, self.timeout_s))

    def ask_server(self, subject: str, question: bytes) -> Any:
        # Old style, with an inbox for this reply alone: a message comes with the subject that it was
        # published to, and the shared inbox of the new style would not know whose it is.
        return self.wait(self.nats.request(subject, question, timeout=self.timeout_s, old_style=True))

    def close(self) -> None:
        super().close()
        self.runner.close()

    def submit(self, payload: str) -> str:
        return str(self.wait(self.stream.publish(self.queue, payload.encode())).seq)

    def request(self) -> tuple[str, str] | None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.queue}.{CONSUMER}"
        message = self.ask_server(subject, json.dumps({"batch": 1, "no_wait": True}).encode())
        if message.headers and message.headers.get(STATUS):
            return None
        id = str(message.metadata.sequence.stream)
        self.held[id] = message.reply
        return id, message.data.decode()

    def ack(self, id: str) -> None:
        self.ask_server(self.held[id], b"+ACK")

    def fail(self, id: str) -> None:
        self.ask_server(self.held[id], b"-NAK")


if __name__ == "__main__":
    take_part(Nats)
