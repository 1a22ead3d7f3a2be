"""A black box: any program, in any language, that speaks the four core commands on a port that it is told.

Its command line is split as a shell would do it, but no shell is run: what a scenario or a student writes
there is words, and never a second command.
"""

import re
import shlex
import shutil
from pathlib import Path

from dsjq_lab.brokers.broker import Broker, Place
from dsjq_lab.errors import UsageError
from dsjq_lab.library import did_you_mean

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
PYTHON = re.compile(r"python(3(\.[0-9]+)?)?")  # the name of an interpreter
PLACEHOLDERS = ("port", "host", "data", "ack_timeout", "max_attempts")


class Command(Broker):
    core = True
    is_python = False

    def __init__(self, text: str, folder: Path = Path()) -> None:
        """`folder` is where it is to be run."""
        self.name, self.folder = text, folder
        try:
            self.words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"not a command line: {text}: {error}") from None
        self.placeholders = PLACEHOLDER.findall(text)
        for word in self.placeholders:
            if word not in PLACEHOLDERS:
                raise UsageError(f"{{{word}}} stands for nothing{did_you_mean(word, PLACEHOLDERS)}")
        if "port" not in self.placeholders:
            raise UsageError("the lab must tell the broker its port: write {port} into its command")
        program = self.words[0]
        if shutil.which(folder / program if "/" in program else program) is None:
            raise UsageError(f"no such program, or it may not be executed: {program}")
        self.keeps_data = "data" in self.placeholders
        self.limits_attempts = "max_attempts" in self.placeholders

    @property
    def file(self) -> Path | None:
        """Of `python3 mine.py …`: the program, which can be explored."""
        is_python = PYTHON.fullmatch(Path(self.words[0]).name) and self.words[1:2]
        return self.folder / self.words[1] if is_python and self.words[1].endswith(".py") else None

    def explorer(self) -> dict[str, str] | None:
        """The environment of who explores it; None: ours."""
        return None

    def is_durable(self, store: str) -> bool:
        return self.keeps_data and super().is_durable(store)

    def command(self, place: Place) -> list[str]:
        meant = {**place._asdict(), "ack_timeout": f"{place.ack_timeout_s:g}"}
        return [PLACEHOLDER.sub(lambda match: str(meant[match[1]]), word) for word in self.words]
