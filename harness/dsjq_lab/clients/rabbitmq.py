"""RabbitMQ: a durable classic queue behind the default exchange, publisher confirms, manual acknowledgement.

| | |
| --- | --- |
| SUBMIT | basic.publish, confirmed; persistent if the broker is to keep its jobs, else transient. The id is the lab's own name of the job |
| REQUEST | basic.get; EMPTY on get-empty |
| ACK | basic.ack, which has no reply; so a passive queue.declare follows on the same channel, which is answered after it. A channel that is closed instead is a refusal |
| FAIL | basic.nack with requeue, then the same |
| ack timeout | consumer_timeout, which the server looks at once a minute |
| disconnect | requeued at once |
| limit of attempts | none for classic queues |
"""  # noqa: E501


import pika
from pika.exceptions import ChannelClosedByBroker, NackError, UnroutableError

from dsjq_lab.clients.translator import Translator, nonce_of, take_part


class RabbitMQ(Translator):
    refusals = (NackError, UnroutableError, ChannelClosedByBroker)

    def connect(self, url: str, queue: str) -> None:
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 0  # nobody answers it while a handler works
        parameters.socket_timeout = parameters.stack_timeout = self.timeout_s
        parameters.connection_attempts = 1
        self.channel = pika.BlockingConnection(parameters).channel()
        self.channel.confirm_delivery()
        self.channel.queue_declare(queue, durable=True)
        self.queue = queue

    def submit(self, payload: str) -> str:
        mode = pika.DeliveryMode.Persistent if self.config["durable"] else pika.DeliveryMode.Transient
        properties = pika.BasicProperties(delivery_mode=mode)
        self.channel.basic_publish("", self.queue, payload.encode(), properties, mandatory=True)
        return nonce_of(payload)

    def request(self) -> tuple[str, str] | None:
        frame, _, body = self.channel.basic_get(self.queue)
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


if __name__ == "__main__":
    take_part(RabbitMQ)
