"""Becomes the submission: gives up all that it must not have, then executes its command.

    python -I -S confine.py '{"uid": 64200, "folder": …, "limits": …}' COMMAND WORD…

Nothing of the lab is imported, since this must start fast, and nothing is left of it after exec(2): the lab
sees, watches and signals the broker itself. The environment is made anew; it bears a mark by which a process
is found that has left its session and its parent.
"""

import json
import os
import resource
import sys
import warnings  # noqa: F401  (execvp would import it, when we may no longer read where it lies)

MARK = "DSJQ_GRADED"
NICE = 10  # whoever judges must not wait for whoever is judged
KEPT = ("LANG", "LC_ALL", "PATH", "PYTHONUNBUFFERED")
NOT_STARTED = 127


def confine(uid: int | None, folder: str, mark: str, limits: dict[str, int], env: dict[str, str]) -> None:
    """Limits that cannot be raised again, another user if there is one, a folder and an environment."""
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.nice(NICE)
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # if memory runs out for all of us, it is this one's turn
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    os.umask(0o077)
    os.chdir(folder)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update({**kept, "HOME": folder, "TMPDIR": folder, MARK: mark, **env})


def main(task: dict[str, object], command: list[str]) -> None:
    try:
        confine(**task)  # type: ignore[arg-type]
        os.execvp(command[0], command)
    except (OSError, ValueError) as problem:
        print(f"cannot start {command[0]}: {problem}", file=sys.stderr)
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
