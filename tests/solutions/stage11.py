"""Stage 11: a job with a key can be submitted again. The key is written down with its job, in one record."""

import argparse

import stage01
import stage10
from stage01 import Client, Refused


class Broker(stage10.Broker):
    def __init__(self, options: argparse.Namespace) -> None:
        self.keys: dict[str, str] = {}  # to ids; filled while the journal is read
        self.key = ""  # of the job that is being submitted
        super().__init__(options)
        self.commands["PUT"] = self.put

    def put(self, rest: str, client: Client) -> str:
        option, dashes, payload = rest.partition(" -- ")
        name, _, key = option.partition("=")
        if name != "key" or not key or " " in key or not dashes:
            raise Refused("BAD_ARGUMENTS write PUT key=WORD -- PAYLOAD")
        if known := self.keys.get(key):
            if self.jobs[known].payload != payload:
                raise Refused(f"KEY_CONFLICT job {known} has another payload")
            return f"JOB_ID {known}"
        self.key = key
        try:
            return self.submit(payload, client)
        finally:
            self.key = ""

    def write(self, **record: str) -> None:
        if record["what"] == "submitted" and self.key:
            self.keys[self.key] = record["id"]
            record["key"] = self.key
        super().write(**record)

    def replay(self, what: str, id: str, payload: str = "", queue: str = "", key: str = "") -> None:
        super().replay(what, id, payload, queue)
        if key:
            self.keys[key] = id


if __name__ == "__main__":
    stage01.serve(Broker)
