"""What the jobs' work does to the world: a ledger outside the queue, which the lab keeps.

A lease protects the queue and not the world: whoever has lost a job may still be writing, or have written
just before it died. Two cures are tried here. An *idempotent* effect is written once a job, whoever comes
again. A *fenced* ledger turns away a token that is smaller than one it has seen for the job (M. Kleppmann,
"How to do distributed locking", 2016): that stops the late, but not the work that was done twice in turn.
"""

import re
from collections.abc import Mapping
from typing import Any

TOKEN = re.compile(r"[0-9]+(\.[0-9]+)*")


class Ledger:
    def __init__(self, kind: str | None) -> None:
        self.kind = kind
        self.seen: dict[str, tuple[int, ...]] = {}  # job -> the largest token that has written, () if none

    def write(self, effect: Mapping[str, Any]) -> str:
        """Why the effect is turned away; empty if it is written."""
        job, token, largest = effect["job"], numbers(effect["token"]), self.seen.get(effect["job"])
        if largest is not None and self.kind == "idempotent":
            return "this job has had its effect"
        if largest is not None and self.kind == "fenced" and token and token < largest:
            return f"token {effect['token']} is smaller than one seen before"
        self.seen[job] = max(token, largest or ())
        return ""


def numbers(token: str | None) -> tuple[int, ...]:
    """A token, compared as numbers; () where the broker gives none of that kind: nothing can be checked."""
    return tuple(map(int, token.split("."))) if token and TOKEN.fullmatch(token) else ()
