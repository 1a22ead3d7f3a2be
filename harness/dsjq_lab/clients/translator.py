"""What all translators share: three outcomes, a deadline for each question, and an end that is certain.

The libraries of real brokers retry, wait and say goodbye in ways of their own. An experiment can have none
of that: a question is answered in time or its outcome is unknown, and a connection that is given up is closed
at once. So the deadline is an alarm of this process, which nothing in a library can outwait, and the end is a
shutdown(2) of its sockets, which asks no library.
"""

import json
import os
import signal
import socket
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from dsjq_lab.workload import Record, Refused, Unknown, main

SHOWN = 80  # letters of an error


class Translator(ABC):
    """One connection to a real broker, asked in the four core commands. `connect` raises OSError."""

    refusals: ClassVar[tuple[type[Exception], ...]]  # by these it says that it definitely did not happen

    def __init__(self, config: Record, timeout_s: float) -> None:
        self.config, self.timeout_s = config, timeout_s
        self.held: dict[str, Any] = {}  # by id: what its ACK and FAIL need, while they may still be said
        try:
            with deadline(timeout_s):
                self.connect(config["url"], config["queue"])
        except Exception as error:
            cut_connections()
            raise OSError(brief(error)) from error

    def ask(self, question: str, sent: Callable[[], None] = lambda: None) -> str:
        """The reply. `sent` is called when the broker has answered and nobody has heard of it yet: a library
        shows no earlier moment.
        """
        verb, _, rest = question.partition(" ")
        try:
            with deadline(self.timeout_s):
                reply = self.translate(verb, rest)
        except self.refusals as refusal:
            raise Refused(f"ERROR {self.named(refusal)}") from refusal
        except TimeoutError:
            raise Unknown("timeout") from None
        except Exception as error:  # each library has its own words for a connection that broke
            raise Unknown(brief(error)) from error
        sent()
        return reply

    def named(self, refusal: Exception) -> str:
        return brief(refusal)

    def translate(self, verb: str, rest: str) -> str:
        match verb:
            case "SUBMIT":
                return f"JOB_ID {self.submit(rest)}"
            case "REQUEST":
                found = self.request()
                return f"JOB {found[0]} {found[1]}" if found else "EMPTY"
        if rest not in self.held:
            raise Refused("ERROR not held by this connection")
        if verb == "ACK":
            self.ack(rest)
        else:
            self.fail(rest)
        del self.held[rest]
        return "OK"

    def close(self) -> None:
        cut_connections()

    @abstractmethod
    def connect(self, url: str, queue: str) -> None:
        """Connects, and makes the queue unless it is there."""

    @abstractmethod
    def submit(self, payload: str) -> str:
        """The id of a job that the broker has confirmed."""

    @abstractmethod
    def request(self) -> tuple[str, str] | None:
        """The id and the payload of a job, which is `held` from now on; None: there is none."""

    @abstractmethod
    def ack(self, id: str) -> None: ...

    @abstractmethod
    def fail(self, id: str) -> None: ...


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the middle of whatever takes longer."""

    def expire(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def cut_connections() -> None:
    """All that this process has: it has one, or what is left of one."""
    for fd in map(int, os.listdir("/dev/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as twin:
                    if twin.family in (socket.AF_INET, socket.AF_INET6):
                        twin.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was the listing's own, or is over already


def brief(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__} {first}".rstrip()[:SHOWN]


def nonce_of(payload: str) -> str:
    """The lab's name of a job, where the broker gives it none."""
    return payload.split(" ")[0]


def take_part(speak: type[Translator]) -> None:
    """What the process of a producer or a worker does."""
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), speak)
