"""The house stays in order by itself: who may import whom, and how big ring 1 may grow."""
import ast
import io
import sys
import tokenize
from pathlib import Path

import pytest

from dsjq_lab.checkers import CHECKERS

ROOT = Path(__file__).parent.parent
RING_1 = ["__init__", "messages", "lifecycle", "text", "store", "broker", "server", "client", "workers"]
RING_1_BUDGET = 800  # lines of code; cli.py apart
DSJQ_BUDGET = 3500
FLOORS = {  # each module of dsjq imports only from floors below its own, or beside it where listed
    "messages": 0, "lifecycle": 1, "text": 2, "store": 2, "broker": 3, "server": 4, "client": 4,
    "workers": 5, "__init__": 6, "cli": 10, "__main__": 11,
    "extensions": 5, "trace": 5, "scheduling": 5, "snapshot": 5, "log": 6, "folder": 6, "journal": 7,
    "sqlite": 7, "binary": 6, "codings": 7, "limits": 8, "credentials": 5, "security": 9,
    "plain": 5, "routing": 4, "top": 6, "dashboard": 6,
}
JUDGE = ["history", "seen", "reading", "intervals", "model", "verdict", "checkers"]
WORLDS = {"world", "live", "conductor", "cast", "workload", "processes", "faults", "brokers", "runs", "cli"}
PRELOADED = ["preloaded", "shim", "orders", "platter", "wallclock"]  # what runs in a broker's own process
CHILDREN = ["workload", "warden", "confine"]  # processes that start with the standard library alone

EMPTY_TOKENS = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
                tokenize.ENDMARKER}


def lines_of_code(path: Path) -> int:
    """Lines that hold code: to delete a comment or a docstring must not look like an improvement."""
    source = path.read_text()
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in EMPTY_TOKENS:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def imports(path: Path) -> set[str]:
    """Names of imported modules; those of the own package begin with a dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "dsjq_lab") == "dsjq_lab":
            found.update("." + alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * bool(node.level) + (node.module or ""))
    return {name.replace("dsjq_lab.", ".", 1) if name.startswith("dsjq_lab.") else name for name in found}


def modules(*names: str) -> list[Path]:
    lab = ROOT / "harness" / "dsjq_lab"
    return [path for name in names for path in [*lab.glob(f"{name}.py"), *lab.glob(f"{name}/*.py")]]


def test_ring_1_is_short_enough_for_an_evening():
    assert sum(lines_of_code(ROOT / "dsjq" / f"{name}.py") for name in RING_1) <= RING_1_BUDGET


def test_dsjq_as_a_whole_stays_small():
    assert sum(lines_of_code(path) for path in (ROOT / "dsjq").rglob("*.py")) <= DSJQ_BUDGET


def test_the_count_leaves_out_words_and_counts_code(tmp_path):
    sample = tmp_path / "sample.py"
    sample.write_text('"""Idea."""\n\n# why\ndef f():\n    """Doc\n    more."""\n    return (1,\n     2)\n')
    assert lines_of_code(sample) == 3


@pytest.mark.parametrize("path", sorted((ROOT / "dsjq").rglob("*.py")), ids=lambda path: path.name)
def test_dsjq_imports_the_standard_library_alone_and_only_downwards(path):
    floor = FLOORS[path.stem]
    for name in imports(path):
        if name.startswith("."):
            assert FLOORS[name.lstrip(".").split(".")[0]] < floor, f"{path.name} imports upwards: {name}"
        else:
            assert name.split(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules(*JUDGE), ids=lambda path: path.name)
def test_the_judge_never_imports_the_judged(path):
    for name in imports(path):
        if name.startswith("."):
            known = [*JUDGE, *(module.stem for module in modules("checkers")), "errors"]
            assert name.lstrip(".").split(".")[0] in known, f"{path} imports {name}"
        elif (path.stem, name) != ("history", "pydantic_core"):  # docs/decisions/005
            assert name.split(".")[0] in sys.stdlib_module_names, f"{path} imports {name}"


@pytest.mark.parametrize("path", modules("report"), ids=lambda path: path.name)
def test_reports_tell_of_histories_whoever_made_them(path):
    assert not {name.lstrip(".").split(".")[0] for name in imports(path) if name.startswith(".")} & WORLDS


@pytest.mark.parametrize("path", modules(*CHILDREN), ids=lambda path: path.name)
def test_children_need_the_standard_library_alone(path):
    assert {name.split(".")[0] for name in imports(path)} <= sys.stdlib_module_names


@pytest.mark.parametrize("path", modules(*PRELOADED), ids=lambda path: path.name)
def test_what_is_loaded_into_a_broker_needs_the_standard_library_alone(path):
    others = imports(path) - {f".{part}" for part in PRELOADED}
    assert {name.split(".")[0] for name in others} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "path", [path for folder in ("dsjq", "harness", "zoo") for path in sorted((ROOT / folder).rglob("*.py"))
             if path.read_text().strip()], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_opens_with_its_idea(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} says nothing of itself"


SECRETS = {"secret", "hash", "digest", "password"}


def compared_secrets(tree: ast.AST) -> list[int]:
    """Lines in which one is compared as any text is: `==` takes the longer, the more of it is right."""
    def names(node: ast.AST) -> set[str]:
        found = {getattr(part, "id", "") or getattr(part, "attr", "") for part in ast.walk(node)}
        return {word for name in found for word in name.lower().split("_")}

    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Compare)
            and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
            and names(node) & SECRETS]


@pytest.mark.parametrize("path", sorted((ROOT / "dsjq").rglob("*.py")), ids=lambda path: path.name)
def test_secrets_are_compared_by_compare_digest_alone(path):
    assert not compared_secrets(ast.parse(path.read_text())), "hmac.compare_digest takes equally long, always"


@pytest.mark.parametrize(("code", "found"), [
    ("user.secret == given", [1]), ("_hash(word) != kept", [1]), ("' ' in secret", []),
    ("hmac.compare_digest(secret, given)", []), ("secret is None", []), ("secretary == 1", []),
])
def test_the_rule_sees_how_a_secret_is_compared(code, found):
    assert compared_secrets(ast.parse(code)) == found


def test_the_handbook_explains_each_invariant_where_the_report_points_to():
    headings = [line.removeprefix("### ") for line in (ROOT / "LAB.md").read_text().splitlines()]
    for checker in CHECKERS:
        assert checker.lab == f"LAB.md#{checker.name}" and checker.name in headings
