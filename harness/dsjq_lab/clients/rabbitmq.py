"""RabbitMQ: a durable queue behind the default exchange, publisher confirms, manual acknowledgement.

The queue is classic, or a quorum queue of one.

| | |
| --- | --- |
| SUBMIT | basic.publish, confirmed; persistent if the broker is to keep its jobs, else transient. The id is the lab's own name of the job |
| REQUEST | basic.get; EMPTY on get-empty |
| ACK | basic.ack, which has no reply; so a passive queue.declare follows on the same channel, which is answered after it. A channel that is closed instead is a refusal |
| FAIL | basic.nack with requeue, then the same |
| ack timeout | consumer_timeout, which the server looks at once a minute |
| disconnect | requeued at once |
| limit of attempts | none for classic queues. Of a quorum queue: x-delivery-limit, one less, since it counts those that came back |
| DECLARE, BIND | exchange.declare, queue.declare, queue.bind; durable and classic |
| PUBLISH | basic.publish, mandatory and confirmed: returned is UNROUTABLE. Nobody tells how many copies there are |
| RESERVE queue= | basic.get, as above. What is `redelivered` may be new to all the same: nobody looks at it |
"""  # noqa: E501

from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, UnroutableError

from dsjq_lab.clients.translator import Translator, brief, nonce_of, take_part

DECLARE_TIMEOUT_S = 5.0
FORGOTTEN = {"NOT_FOUND - no exchange": "NO_SUCH_EXCHANGE", "NOT_FOUND - no queue": "NO_SUCH_QUEUE"}


class RabbitMQ(Translator):
    refusals = (UnroutableError, ChannelClosedByBroker)  # a nack is none: it may be in one queue of several

    def connect(self, url: str, queue: str) -> None:
        self.queue = queue
        self.channel = opened(url, self.timeout_s).channel()
        self.channel.confirm_delivery()
        self.channel.queue_declare(queue, durable=True, arguments=self.config["arguments"])

    def named(self, refusal: Exception) -> str:
        if isinstance(refusal, UnroutableError):
            return "UNROUTABLE returned"
        text = getattr(refusal, "reply_text", "")
        names = (name for said, name in FORGOTTEN.items() if text.startswith(said))
        return f"{next(names, '')} {brief(refusal)}".lstrip()

    def translate(self, verb: str, rest: str) -> str:
        """Also what a publisher asks."""
        words = rest.split(" ")
        match verb:
            case "DECLARE" if words[0] == "queue":
                self.channel.queue_declare(self.own(words[1]), durable=True)
            case "DECLARE":
                self.channel.exchange_declare(self.own(words[1]), words[0], durable=True)
            case "BIND":
                self.channel.queue_bind(self.own(words[0]), self.own(words[1]), words[2])
            case "PUBLISH":
                self.publish(self.own(words[0]), words[1], rest.partition(" -- ")[2])
                return "JOB_IDS null"
            case "RESERVE":
                found = self.get(self.own(rest.removeprefix("queue=")))
                return f"JOB {found[0]} {found[1]}" if found else "EMPTY"
            case _:
                return super().translate(verb, rest)
        return "OK"

    def own(self, name: str) -> str:
        return f"{self.queue}/{name}"

    def submit(self, payload: str) -> str:
        self.publish("", self.queue, payload)
        return nonce_of(payload)

    def publish(self, exchange: str, key: str, payload: str) -> None:
        mode = pika.DeliveryMode.Persistent if self.config["durable"] else pika.DeliveryMode.Transient
        properties = pika.BasicProperties(delivery_mode=mode)
        self.channel.basic_publish(exchange, key, payload.encode(), properties, mandatory=True)

    def request(self) -> tuple[str, str] | None:
        return self.get(self.queue)

    def get(self, queue: str) -> tuple[str, str] | None:
        frame, _, body = self.channel.basic_get(queue)
        if frame is None:
            return None
        payload = body.decode()
        id = nonce_of(payload)
        self.held[id] = frame.delivery_tag
        return id, payload

    def ack(self, id: str) -> None:
        self.channel.basic_ack(self.held[id])
        self.await_effect()

    def fail(self, id: str) -> None:
        self.channel.basic_nack(self.held[id], requeue=True)
        self.await_effect()

    def await_effect(self) -> None:
        self.channel.queue_declare(self.queue, passive=True)


def opened(url: str, timeout_s: float) -> pika.BlockingConnection:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0  # nobody answers it while a handler works
    parameters.socket_timeout = parameters.stack_timeout = timeout_s
    parameters.connection_attempts = 1
    return pika.BlockingConnection(parameters)


def declare(url: str, queue: str, arguments: dict[str, Any]) -> bool:
    """Whether the queue is there; not yet, if nobody answers."""
    try:
        with opened(url, DECLARE_TIMEOUT_S) as connection:
            connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    except AMQPError:
        return False
    return True


if __name__ == "__main__":
    take_part(RabbitMQ)
