"""A connection to Redis that breaks when it breaks: made anew in silence, it would hide what happened."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def connected(url: str, timeout_s: float) -> Any:
    """A client with exactly one connection, made now. Raises redis.ConnectionError."""
    client = redis.Redis.from_url(
        url,
        decode_responses=True,
        single_connection_client=True,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        health_check_interval=0,
    )
    client.ping()
    return client
