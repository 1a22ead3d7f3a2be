"""An exercise packed for a place that grades: a zip that is complete but for Python and what pip brings.

The lab goes in as it is here, so that it judges there as it judges here.
"""

import io
import re
import shlex
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import dsjq
from dsjq_lab import library
from dsjq_lab.errors import UsageError
from dsjq_lab.grading import exercise

EXECUTABLE, PLAIN, PRIVATE = 0o755, 0o644, 0o600
OMITTED = {"__pycache__", "library"}
SETUP = """\
#!/usr/bin/env bash
# Runs once, when the image is built.
set -euo pipefail
root=${AUTOGRADER:-/autograder}
find_python() {
    for version in 3.13 3.12 3.11; do command -v "python$version" && return; done
    return 1
}
apt-get update -qq
find_python >/dev/null || apt-get install -y -qq python3.11
python=$(find_python)
apt-get install -y -qq "$(basename "$python")-venv"
"$python" -m venv /opt/dsjq-lab
/opt/dsjq-lab/bin/pip install -q REQUIREMENTS
if [ -d "$root/source/hidden" ]; then chmod -R go-rwx "$root/source/hidden"; fi
"""
RUN = """\
#!/usr/bin/env bash
# Runs for each submission. There is a results file from the first second on; exit code 3: no score.
set -euo pipefail
root=${AUTOGRADER:-/autograder}
python=${DSJQ_PYTHON:-/opt/dsjq-lab/bin/python}
export PYTHONPATH="$root/source/lab"
cd "$root"
exec "$python" -P -m dsjq_lab grade "$root/source/EXERCISE" --submission "$root/submission" HIDDEN\\
    --profile small --format gradescope --out "$root/results/results.json"
"""
WORKFLOW = """\
# Grades each push. GitHub Classroom looks for these names of the workflow and of its job; without Classroom
# (whose end GitHub has announced) the score is in the summary of the job.
name: Autograding Tests
on: [push, workflow_dispatch]
permissions:
  checks: write
  actions: read
  contents: read
jobs:
  run-autograding-tests:
    runs-on: ubuntu-latest
    if: github.actor != 'github-classroom[bot]'
    timeout-minutes: 20
    env:
      PYTHONPATH: ${{ github.workspace }}/.github/dsjq/lab
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install -q REQUIREMENTS
      - name: Grade
        id: grade
        run: |
          json=$RUNNER_TEMP/result.json
          grade() { python -P -m dsjq_lab grade .github/dsjq/EXERCISE "$@"; }
          grade --submission . --format json --out "$json"
          grade --from "$json" --format md >> "$GITHUB_STEP_SUMMARY"
          grade --from "$json" --format classroom > "$json.classroom"
          echo "result=$(base64 -w0 "$json.classroom")" >> "$GITHUB_OUTPUT"
      - name: Autograding Reporter
        uses: classroom-resources/autograding-grading-reporter@v1
        env:
          GRADE_RESULTS: "${{ steps.grade.outputs.result }}"
        with:
          runners: grade
"""


def gradescope(folder: Path, hidden: Path | None) -> bytes:
    """The zip to upload as an autograder."""
    exercise.load(folder, hidden)
    place = f"exercises/{folder.parent.name}/{folder.name}"
    flag = '--hidden "$root/source/hidden" ' if hidden else ""
    run = RUN.replace("EXERCISE", place).replace("HIDDEN", flag)
    members = [("setup.sh", SETUP.replace("REQUIREMENTS", requirements()), EXECUTABLE)]
    members.append(("run_autograder", run, EXECUTABLE))
    packed = [*files("lab", lab()), *files(place, inside(folder))]
    packed += files("hidden", inside(hidden), PRIVATE) if hidden else []
    return zipped([*((name, text.encode(), mode) for name, text, mode in members), *packed])


def classroom(folder: Path, hidden: Path | None) -> bytes:
    """The zip to unpack in the template of an assignment."""
    if hidden:
        raise UsageError("students can read all of their repository: nothing there can be hidden")
    asked = exercise.load(folder)
    place = f"exercises/{folder.parent.name}/{folder.name}"
    text = WORKFLOW.replace("EXERCISE", place).replace("REQUIREMENTS", requirements())
    members = [(".github/workflows/classroom.yml", text.encode(), PLAIN), ("README.md", page(asked), PLAIN)]
    return zipped(
        [*members, *files(".github/dsjq/lab", lab()), *files(f".github/dsjq/{place}", inside(folder))]
    )


FORMATS = {"gradescope": gradescope, "classroom": classroom}


def page(asked: exercise.Exercise) -> bytes:
    return (asked.folder / exercise.PAGE).read_bytes()


def requirements() -> str:
    """What the lab needs beyond itself, as words of a shell."""
    needed = metadata.requires("dsjq-lab") or []
    return " ".join(shlex.quote(each) for each in needed if not re.search(r";.*\bextra\b", each))


def lab() -> Iterator[tuple[str, Path]]:
    """Both packages, and of the library what grading needs."""
    for package in (Path(dsjq.__file__).parent, library.PACKAGE):
        yield from ((f"{package.name}/{name}", path) for name, path in inside(package))
    for path in library.contents("scenarios").values():
        yield f"dsjq_lab/library/scenarios/{path.name}", path


def inside(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not OMITTED.intersection(name.parts):
            yield name.as_posix(), path


def files(
    place: str, found: Iterator[tuple[str, Path]], mode: int = PLAIN
) -> list[tuple[str, bytes, int]]:
    return [(f"{place}/{name}", path.read_bytes(), mode) for name, path in found]


def zipped(members: list[tuple[str, bytes, int]]) -> bytes:
    """The same members give the same bytes."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            about = zipfile.ZipInfo(name)  # of 1980
            about.external_attr, about.compress_type = (0o100000 | mode) << 16, zipfile.ZIP_DEFLATED
            archive.writestr(about, data)
    return whole.getvalue()
