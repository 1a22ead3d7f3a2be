"""Makes one attempt at one check, in a process that can be given up: grade.py watches over it.

    python -m dsjq_lab.grading.runner '{"exercise": …, "number": 2, …}'

What it found is in the file that the task names, or the attempt has not come to its end.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from dsjq_lab.grading import exercise, judge
from dsjq_lab.grading.isolation import Isolation
from dsjq_lab.grading.limits import Limits
from dsjq_lab.grading.submission import Confined, command_line


def main(task: dict[str, Any]) -> None:
    os.umask(0o077)  # histories and scenarios are the grader's alone
    hidden = task["hidden"] and Path(task["hidden"])
    asked = exercise.load(Path(task["exercise"]), hidden).checks[task["number"]]
    folder = Path(task["folder"])
    isolation = Isolation(task["uid"], task["mark"])
    broker = Confined(command_line(folder), folder, isolation, Limits(*task["limits"]))
    broker.ready_within_s = broker.limits.ready_s * task["time_scale"]
    finding = judge.find(asked, broker, task["time_scale"])
    found = Path(task["found"])
    found.with_suffix(".part").write_text(json.dumps(finding))
    found.with_suffix(".part").replace(found)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
