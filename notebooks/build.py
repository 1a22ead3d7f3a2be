"""Plays the notebooks: each `.py` here becomes the `.ipynb` beside it, with the outputs of that run.

    python notebooks/build.py                   # all of them
    python notebooks/build.py 01_first_job …    # these

A lesson is written in its `.py`, in cells that begin with `# %%` (jupytext's percent format). Whoever has
Jupyter edits either of the two; what is in the repository comes from here.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
CELL_S_MAX = 300
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lessons() -> list[Path]:
    return sorted(HERE.glob("[0-9]*.py"))


def played(lesson: Path) -> Any:
    """The lesson as a notebook, each cell executed by a new kernel.

    Its folder has the shelves of the repository, so that names are short, and is removed afterwards.
    """
    notebook = jupytext.read(lesson)
    # What a machine would add of its own is left out.
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{lesson.stem}-{number}"
    environment = {name: value for name, value in os.environ.items() if name != "DSJQ_RUNS"}
    with tempfile.TemporaryDirectory() as folder:
        for shelf in ("scenarios", "zoo"):
            (Path(folder) / shelf).symlink_to(HERE.parent / shelf)
        # Over sockets of the file system: neither a port nor a network is needed.
        sockets = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})
        client = nbclient.NotebookClient(
            notebook, config=sockets, kernel_name="python3", timeout=CELL_S_MAX, record_timing=False,
            resources={"metadata": {"path": folder}},
        )  # fmt: skip
        client.execute(env=environment)
    notebook.metadata.pop("language_info", None)
    return notebook


def main(names: list[str]) -> None:
    for lesson in lessons():
        if not names or lesson.stem in names:
            print(lesson.stem, flush=True)
            nbformat.write(played(lesson), lesson.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
