"""Runs on real files and on the simulated disk, and must print the same. Its argument is an empty folder."""
import os
import sys
from pathlib import Path

FOLDER = sys.argv[1]
PATH = FOLDER + "/file"


def attempt(label, action):
    try:
        result = action()
    except BaseException as problem:
        result = type(problem).__name__
    print(label, result)


attempt("missing", lambda: open(PATH))  # noqa: SIM115
with open(PATH, "w") as file:
    attempt("write", lambda: file.write("één\nzwei\n"))
attempt("size", lambda: os.path.getsize(PATH))
with open(PATH) as file:
    attempt("lines", lambda: list(file))
with open(PATH, "a") as file:
    attempt("append", lambda: (file.tell(), file.write("drei")))
with open(PATH, "rb") as file:
    attempt("seek", lambda: (file.seek(2), file.read(3), file.tell(), file.seek(0, 2), file.read()))
    attempt("write to a reader", lambda: file.write(b"x"))
attempt("closed", lambda: file.read())
with open(PATH, "r+b") as file:
    attempt("overwrite", lambda: (file.write(b"XX"), file.seek(0), file.read(4)))
    attempt("truncate", lambda: (file.truncate(3), file.seek(0), file.read()))
attempt("exclusive", lambda: open(PATH, "x"))  # noqa: SIM115
attempt("bad mode", lambda: open(PATH, "rw"))  # noqa: SIM115

number = os.open(PATH, os.O_RDWR | os.O_APPEND)
attempt("os.write", lambda: os.write(number, b"end"))
attempt("os.pread", lambda: os.pread(number, 3, 1))
attempt("os.lseek", lambda: os.lseek(number, 0, os.SEEK_SET))
attempt("os.read", lambda: os.read(number, 100))
attempt("os.fsync", lambda: os.fsync(number))
attempt("os.ftruncate", lambda: os.ftruncate(number, 2))
attempt("os.fstat", lambda: os.fstat(number).st_size)
os.close(number)
attempt("after close", lambda: os.write(number, b"x"))
attempt("close twice", lambda: os.close(number))

attempt("mkdir", lambda: os.mkdir(FOLDER + "/sub"))
attempt("mkdir again", lambda: os.mkdir(FOLDER + "/sub"))
attempt("makedirs", lambda: os.makedirs(FOLDER + "/sub/deeper", exist_ok=True))
attempt("replace", lambda: os.replace(PATH, FOLDER + "/sub/moved"))
attempt("listdir", lambda: sorted(os.listdir(FOLDER + "/sub")))
attempt("isdir", lambda: (os.path.isdir(FOLDER + "/sub"), os.path.isfile(FOLDER + "/sub/moved")))
attempt("exists", lambda: (os.path.exists(PATH), os.path.exists(FOLDER + "/sub/moved")))
attempt("rmdir, not empty", lambda: os.rmdir(FOLDER + "/sub"))
attempt("unlink", lambda: os.unlink(FOLDER + "/sub/moved"))
attempt("unlink again", lambda: os.unlink(FOLDER + "/sub/moved"))
attempt("open a folder", lambda: open(FOLDER + "/sub"))  # noqa: SIM115
attempt("not a folder", lambda: (open(PATH, "w").close(), os.listdir(PATH)))
folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
attempt("fsync of a folder", lambda: os.fsync(folder))
os.close(folder)

path = Path(FOLDER) / "by" / "pathlib.txt"
attempt("parent", lambda: path.parent.mkdir())
attempt("write_text", lambda: path.write_text("hello"))
attempt("read_bytes", lambda: path.read_bytes())
attempt("names", lambda: (path.name, path.suffix, path.exists(), path.is_dir(), path.stat().st_size))
