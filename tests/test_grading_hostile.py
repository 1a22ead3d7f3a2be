"""Wrong programs are the golden tests of the grader: the right score, a valid file, and nothing runs on.

Each is graded in the same short exercise: one talk. As root, a submission has a user id of its own; what is
said here of killing the grader or reading its files holds there alone.
"""

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dsjq_lab.grading import formats, grade, isolation
from dsjq_lab.grading.limits import MIB, Limits
from dsjq_lab.processes import wait_until

LIMITS = Limits(memory_bytes=200 * MIB, processes=40, disk_bytes=50 * MIB, file_bytes=30 * MIB)
HASTY = LIMITS._replace(ready_s=1.5)
AS_ROOT = os.getuid() == 0

SERVER = """
import os, signal, socket, subprocess, sys, threading, time
port = int(sys.argv[2])

def serve(answer, port=port, first=lambda: None):
    listener = socket.create_server(("127.0.0.1", port))
    first()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=[connection], daemon=True).start()

def always(reply):
    def answer(connection):
        for line in connection.makefile("rb"):
            connection.sendall(reply)
    return answer

def honest(connection):
    for line in connection.makefile("rb"):
        reply = {b"SUBMIT": b"JOB_ID 1", b"REQUEST": b"JOB 1 hello"}.get(line.split()[0], b"ERROR no")
        connection.sendall(reply + b"\\n")

def background():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            time.sleep(1000)
        os._exit(0)
"""
EXERCISE = "title: A talk\nchecks:\n  - {name: a talk, points: 3, conversation: talk.txt, explain: Talk.}\n"
TALK = "a> SUBMIT hello\na< JOB_ID $job\na> REQUEST\na< JOB $job hello\n"

FAILING = {  # program -> what the evidence says
    "answers OK to everything": ("serve(always(b'OK\\n'))", "a< OK "),
    "speaks another protocol": ("serve(always(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'))", "a< HTTP/1.1 400"),
    "says what is no UTF-8": ("serve(always(b'\\xff\\xfe\\x00\\n'))", "\\xff\\xfe"),
    "a line without end": ("serve(lambda c: [c.sendall(b'x' * 65536) for _ in range(99)])", "a line of more"),
    "closes every connection": ("serve(lambda c: c.close())", "no answer, the "),
    "exits at once": ("sys.exit(0)", "exit status 0"),
    "crashes": ("raise RuntimeError('my mistake')", "my mistake"),
    "ends in the middle": ("serve(lambda c: os._exit(3))", "exit status 3"),
    "allocates without end": (
        "hoard = []\nwhile True: hoard.append(bytearray(b'x' * (1 << 23)))", "of memory"),
    "forks without end": ("while True:\n  try: os.fork()\n  except OSError: pass", "processes and threads"),
    "fills its disk": (
        "for number in range(99):\n"
        "  with open(f'f{number}', 'wb') as file: file.write(bytes(1 << 20))\n"
        "time.sleep(1000)", "it wrote more"),
    "fills a file": (
        "with open('f', 'wb') as file:\n  while True: file.write(bytes(1 << 20))", "File too large"),
    "deletes its folder and leaves": (
        "import shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\nsys.exit(5)", "exit status 5"),
    "forks into the background": ("background()\nsys.exit(0)", "went into the background"),
}  # fmt: skip
SLOW_TO_FAIL = {
    "hangs at the start": ("time.sleep(1000)", "did not listen on port"),
    "listens on another port": ("serve(honest, port=0)", "instead"),
    "answers nothing": ("serve(lambda c: time.sleep(1000))", "no answer within"),
}
PASSING = {  # a nuisance, but right
    "floods its output": "serve(honest, first=lambda: [print('x' * 1000) for _ in range(20_000)])",
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve(honest)",
    "leaves a daemon": "background()\nserve(honest)",
    "deletes its folder": "import shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\nserve(honest)",
    "writes a results file": "open('found.json', 'w').write('[\"passed\"]')\nserve(honest)",
}
HARMLESS_AS_ROOT = {  # what only another user id prevents
    "kills its parent": "os.kill(os.getppid(), signal.SIGKILL)",
    "kills everybody": "os.kill(-1, signal.SIGKILL)",
    "edits the checks": "open('{exercise}/talk.txt', 'w').write('a> X\\na< ERROR...\\n')",
    "reads the hidden checks": "print(open('{hidden}/talk.txt').read(), file=sys.stderr)",
    "looks into the grader's folder": "print(os.listdir('..'), file=sys.stderr)",
}  # fmt: skip


@pytest.fixture
def graded(tmp_path: Path):
    """Grades a program; the report, and that nothing bearing its token runs on."""
    exercise, hidden, submission = tmp_path / "exercise", tmp_path / "hidden", tmp_path / "submission"
    for folder in (exercise, hidden, submission):
        folder.mkdir()
    for folder in (exercise, hidden):
        (folder / "exercise.yaml").write_text(EXERCISE)
        (folder / "talk.txt").write_text(TALK)
    hidden.chmod(0o700)
    token = secrets.token_hex(8)

    def run(program: str, limits: Limits = LIMITS, command: str | None = None):
        words = {"{exercise}": str(exercise), "{hidden}": str(hidden)}
        for word, meaning in words.items():
            program = program.replace(word, meaning)
        (submission / "broker.py").write_text(SERVER + program)
        (submission / "broker.cmd").write_text(command or f"python3 broker.py {token} {{port}}")
        kept = []
        report = grade.grade(grade.Task(exercise, None, submission, limits), kept.append)
        assert kept[0].grader_error == grade.UNFINISHED and not kept[1].grader_error, kept[1].grader_error
        for form in formats.FORMATS.values():
            assert form(kept[0]) and form(kept[1])
        assert not running(token)
        return report

    return run


def running(token: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if token.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


@pytest.mark.parametrize("name", FAILING)
def test_it_fails(name, graded):
    program, evidence = FAILING[name]
    report = graded(program)
    mark = report.marks[0]
    assert (mark.verdict, report.score) == ("failed", 0) and evidence in mark.evidence, mark.evidence


@pytest.mark.parametrize("name", SLOW_TO_FAIL)
def test_it_fails_when_it_had_time_enough(name, graded):
    program, evidence = SLOW_TO_FAIL[name]
    report = graded(program, HASTY)
    mark = report.marks[0]
    assert (mark.verdict, report.score) == ("failed", 0) and evidence in mark.evidence, mark.evidence


@pytest.mark.parametrize("name", PASSING)
def test_it_is_a_nuisance_but_right(name, graded):
    report = graded(PASSING[name])
    assert report.score == 3, report.marks[0].evidence


@pytest.mark.skipif(not AS_ROOT, reason="only root can give a submission another user id")
@pytest.mark.parametrize("name", HARMLESS_AS_ROOT)
def test_it_cannot(name, graded, tmp_path):
    before = (tmp_path / "exercise" / "talk.txt").read_bytes()
    if name == "kills everybody":  # itself included
        assert graded(HARMLESS_AS_ROOT[name]).score == 0
        return
    deed = f"try:\n  {HARMLESS_AS_ROOT[name]}\nexcept PermissionError: pass\nelse: sys.exit('done!')\n"
    report = graded(deed + "serve(honest)")
    assert report.score == 3, report.marks[0].evidence
    assert (tmp_path / "exercise" / "talk.txt").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "evidence"),
    [
        ("./missing {port}", "no such program"),
        ("./broker.py {port}", "may not be executed"),
        ("python3 broker.py", "write {port} into its command"),
        ("one\ntwo {port}", "should be one line"),
        ("python3 missing.py {port}", "exit status 2"),
    ],
)
def test_a_command_that_cannot_be_run(command, evidence, graded):
    report = graded("", command=command)
    assert report.score == 0 and evidence in report.marks[0].evidence


def test_a_grader_that_is_told_to_end_leaves_a_file_that_says_so(graded, tmp_path):
    def stop(mark):
        os.kill(os.getpid(), 15)

    graded("serve(honest)")
    kept = []
    task = grade.Task(tmp_path / "exercise", None, tmp_path / "submission", LIMITS)
    report = grade.grade(task, kept.append, stop)
    assert "stopped before its end (SIGTERM)" in report.grader_error and report.score is None
    assert kept[-1] == report
    assert formats.NO_SCORE in json.loads(formats.as_gradescope(report))["output"]


def test_a_folder_may_vanish_while_it_is_measured(tmp_path, monkeypatch):
    (tmp_path / "all" / "part").mkdir(parents=True)
    (tmp_path / "all" / "file").write_bytes(bytes(8192))
    look = os.lstat

    def lstat(path, **options):
        found = look(path, **options)
        with suppress(FileNotFoundError):
            os.rename(tmp_path / "all" / "part", tmp_path / "elsewhere")
        return found

    monkeypatch.setattr(os, "lstat", lstat)
    assert isolation.disk_bytes(tmp_path / "all") >= 8192
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("deed", ["", "background()\n"], ids=["a broker", "a daemon"])
def test_a_grader_that_is_killed_leaves_a_valid_file_and_nobody(deed, tmp_path):
    exercise, submission, out = tmp_path / "exercise", tmp_path / "submission", tmp_path / "results.json"
    exercise.mkdir()
    submission.mkdir()
    (exercise / "exercise.yaml").write_text(EXERCISE)
    (exercise / "talk.txt").write_text(TALK)
    token = secrets.token_hex(8)
    (submission / "broker.py").write_text(SERVER + deed + "serve(lambda c: time.sleep(1000))")
    (submission / "broker.cmd").write_text(f"python3 broker.py {token} {{port}}")
    words = [str(exercise), "--submission", str(submission), "--format", "gradescope", "--out", str(out)]
    grader = subprocess.Popen([sys.executable, "-m", "dsjq_lab", "grade", *words])
    try:
        assert wait_until(lambda: len(running(token)) > len(deed.split()), 60)  # the broker, and what it left
    finally:
        grader.kill()
    assert grader.wait() == -9
    assert wait_until(lambda: not running(token), 10)
    result = json.loads(out.read_text())
    assert formats.NO_SCORE in result["output"] and grade.UNFINISHED in result["output"]


def test_a_bug_of_the_grader_is_no_zero(graded, tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "mark", None)
    (tmp_path / "submission" / "broker.cmd").write_text(f"{sys.executable} x.py {{port}}")
    task = grade.Task(tmp_path / "exercise", None, tmp_path / "submission", LIMITS)
    report = grade.grade(task, lambda report: None)
    assert report.score is None and report.grader_error.startswith("the grader failed: ")
    assert report.undecided == 3


@pytest.mark.parametrize("name", ["leaves a daemon", "ignores SIGTERM"])
def test_without_root_nothing_is_left_and_the_report_says_what_is_missing(name, graded, monkeypatch):
    monkeypatch.setattr(isolation, "is_root", lambda: False)
    report = graded(PASSING[name])
    assert report.score == 3 and report.notes == (isolation.AS_OURSELVES,)
