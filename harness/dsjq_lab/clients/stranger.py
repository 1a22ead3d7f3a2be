"""One who tries the door: says what he may not say, and tells what he was answered.

He comes in five guises, on a connection each: as nobody; after a wrong secret; as a user who then gives a
wrong secret, by which he is nobody again; and as a user whose role is another. Whatever he asks has one right
answer, a refusal (checkers/strangers_refused.py). His questions are harmless: a broker that carries them out
has a job too many, or one that comes back when he hangs up.
"""

import json
import os
import random
import sys
from typing import NamedTuple

from dsjq_lab.workload import SECRET, Channel, Client, Record, main

PAUSE_S = 0.2  # between two guises: each secret costs the broker some 50 ms, right or wrong
WRONG = "not-the-secret"
SUBMITS = ("SUBMIT stranger", "PUT priority=-9 -- stranger", "PUBLISH stranger key -- stranger")
LEASES = ("REQUEST", "RESERVE wait=0", *(f"{verb} 1" for verb in ("ACK", "FAIL", "TOUCH", "RELEASE")))
ROUTES = ("DECLARE queue stranger", "BIND stranger stranger", "UNBIND stranger stranger", "TOPOLOGY")
ADMINS = ("KICK 1", "JOBS", *ROUTES)
ANYONES = ("HELLO name=stranger", "HELLO binary/1", "STATUS 1", "STATS")
ALL = (*SUBMITS, *LEASES, *ADMINS, *ANYONES)


class Guise(NamedTuple):
    standing: str
    secrets: tuple[tuple[str, bool], ...]  # of which user, and whether it is right
    questions: tuple[str, ...]


GUISES = (
    Guise("before AUTH", (), ALL),
    Guise("after a failed AUTH", (("admin", False),), ALL),
    Guise("after an AUTH and a failed one", (("admin", True), ("admin", False)), ALL),
    Guise("as a worker", (("worker", True),), (*SUBMITS, *ADMINS)),
    Guise("as a producer", (("producer", True),), (*LEASES, *ADMINS)),
)


def intrude(client: Client, channel: Channel, config: Record) -> None:
    dice = random.Random(f"{config['seed']} {channel.process}")
    while True:
        for guise in dice.sample(GUISES, len(GUISES)):
            try_door(client, guise, dice)
            client.close()
            channel.pause(PAUSE_S)


def try_door(client: Client, guise: Guise, dice: random.Random) -> None:
    """All questions on one connection; if that is lost the rest would be asked in another guise."""
    for user, is_right in guise.secrets:
        secret = os.environ[SECRET] if is_right else WRONG
        f, wanted = ("enter", "ok") if is_right else ("intrude", "refused")
        asked = {"standing": guise.standing, "question": f"AUTH {user}"}
        if ask(client, f, asked, f"AUTH {user} {secret}") != wanted:
            return
    for question in dice.sample(guise.questions, len(guise.questions)):
        asked = {"standing": guise.standing, "question": question}
        if ask(client, "intrude", asked, question) != "refused":
            return


def ask(client: Client, f: str, asked: Record, question: str) -> str:
    return client.operate(f, asked, lambda: question, lambda reply: {"reply": reply.split(" ")[0]})[0]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), roles={"stranger": intrude})
