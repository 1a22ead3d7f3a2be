"""Becomes the submission, by giving up all that it must not have; then executes its command, or explores it.

    python -I -S confine.py '{"uid": 64200, "folder": …, "limits": …}' MARK COMMAND WORD…

Nothing of the lab is imported, since this must start fast, and nothing is left of it after exec(2): the lab
sees, watches and signals the broker itself. The environment is made anew; it bears a mark by which a process
is found that has left its session and its parent.

What explores is the lab and the submission in one process. It gives the same up between the two, when the
last file of the lab has been read (sim/child.py).
"""

import json
import os
import resource
import sys
import warnings  # noqa: F401  (execvp would import it, when we may no longer read where it lies)

MARK = "DSJQ_GRADED"
EXPLORED_AS = "DSJQ_EXPLORED_AS"  # environment variable: the arguments of `become` for who explores, in JSON
NICE = 10  # whoever judges must not wait for whoever is judged
KEPT = ("LANG", "LC_ALL", "PATH", "PYTHONUNBUFFERED")
NOT_STARTED = 127


def become(uid: int | None, folder: str, limits: dict[str, int]) -> None:
    """Limits that cannot be raised again, another user if there is one, and a folder."""
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


def environment(folder: str, mark: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in (*KEPT, "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": folder, "TMPDIR": folder, MARK: mark}


def main(task: dict[str, object], mark: str, command: list[str]) -> None:
    try:
        become(**task)  # type: ignore[arg-type]
        os.execvpe(command[0], command, environment(str(task["folder"]), mark))
    except (OSError, ValueError) as problem:
        print(f"cannot start {command[0]}: {problem}", file=sys.stderr)
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:])
