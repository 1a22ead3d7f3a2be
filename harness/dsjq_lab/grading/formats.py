"""A report in the forms that others read. Where one wants a number and there is none, words say so.

- Gradescope: https://gradescope-autograders.readthedocs.io/en/latest/specs/
- GitHub Classroom: what github.com/classroom-resources/autograding-grading-reporter reads, before base64
- JUnit: an undecided check is an error, not a failure

A student's explanation is in all but Classroom's, which has no place for what earns no points.
What a hidden check saw stays hidden from students: only `json`, the instructor's, tells it.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

from dsjq_lab.grading.results import FAILED, PASSED, Mark, Report, lines
from dsjq_lab.report.plain import visible

NO_SCORE = "THIS IS NOT A SCORE. Grade this submission again; what stands here is not the student's doing."


def for_student(mark: Mark) -> Mark:
    if not mark.hidden or not mark.evidence:
        return mark
    return mark._replace(evidence="(this check is hidden: your instructor can see more)", runs=())


def told(mark: Mark) -> str:
    return "\n".join(visible(line) for line in list(lines(for_student(mark)))[1:])


def preface(report: Report) -> str:
    """What concerns the whole submission."""
    said = [report.line()]
    if report.grader_error:
        said = [NO_SCORE, report.grader_error]
    elif report.undecided:
        said.append(f"{report.undecided} points need a person: neither earned nor lost.")
    return "\n".join([*said, *report.notes])


def wrote(report: Report) -> list[str]:
    """The student's explanation under a heading, or that there is none; nothing if none was asked for."""
    if report.explanation is None:
        return []
    text = report.explanation.text
    return [f"explanation.md: {report.explanation.line()}", *map(visible, text.splitlines())]


def as_json(report: Report) -> str:
    return json.dumps(report.as_json(), indent=2) + "\n"


def as_text(report: Report) -> str:
    marks = [line for mark in report.marks for line in lines(for_student(mark))]
    whole = [f"{report.exercise}: {report.title}", "", *marks, "", *preface(report).splitlines()]
    if explanation := wrote(report):
        whole += ["", *explanation]
    return "".join(f"{visible(line)}\n" for line in whole)


def as_markdown(report: Report) -> str:
    return "".join(f"{line}\n" for line in markdown(report))


def markdown(report: Report) -> Iterator[str]:
    first, *more = preface(report).splitlines()
    yield from (f"# {report.exercise}: {report.title}", "", f"**{first}**", "")
    yield from ("| check | points | verdict |", "| --- | --- | --- |")
    for mark in report.marks:
        name = mark.name.replace("|", r"\|")
        yield f"| {name} | {mark.earned if mark.is_decided else '?'} of {mark.points} | {mark.verdict} |"
    yield from ("", *more)
    for mark in report.marks:
        if mark.verdict != PASSED:
            yield from ("", f"## {mark.name}", "", *(f"    {line}" for line in told(mark).splitlines()))
    if explanation := wrote(report):
        heading, *text = explanation
        yield from ("", f"## {heading}", "", *(f"    {line}" for line in text))


def as_gradescope(report: Report) -> str:
    tests = []
    for mark in report.marks:
        test: dict[str, Any] = {"name": mark.name, "output": told(mark), "output_format": "text"}
        if mark.is_decided:
            test |= {"score": mark.earned, "max_score": mark.points, "status": mark.verdict}
        else:
            test["name"] = f"{mark.name}: {mark.verdict}, {mark.points} points open"
        tests.append(test)
    if explanation := wrote(report):
        heading, *text = explanation
        tests.append({"name": heading, "output": "\n".join(text), "output_format": "text"})
    seconds = round(sum(mark.seconds for mark in report.marks))
    whole = {"score": report.total, "execution_time": seconds, "output": preface(report), "tests": tests}
    extra = {"exercise": report.exercise, "undecided": report.undecided, "grader_error": report.grader_error}
    return json.dumps({**whole, "visibility": "visible", "stdout_visibility": "hidden", "extra_data": extra})


def as_classroom(report: Report) -> str:
    """Undecided points are left out of the maximum, since the reporter adds up numbers."""
    words = {PASSED: "pass", FAILED: "fail"}
    tests: list[dict[str, Any]] = [
        {"name": mark.name, "status": words.get(mark.verdict, "error"), "score": mark.earned,
         "message": told(mark) or None, "test_code": "", "filename": "", "line_no": 0,
         "execution_time": f"{mark.seconds:.1f}s"}
        for mark in report.marks
    ]  # fmt: skip
    statuses = {test["status"] for test in tests}
    status = next((word for word in ("error", "fail") if word in statuses), "pass")
    if report.grader_error:
        status = "error"
        about = {"name": "the grader", "status": "error", "score": 0, "message": preface(report)}
        tests.append({**tests[0], **about})
    whole = {"version": 1, "status": status, "max_score": report.of - report.undecided, "tests": tests}
    return json.dumps(whole)


def as_junit(report: Report) -> str:
    undecided = [mark for mark in report.marks if not mark.is_decided]
    failed = [mark for mark in report.marks if mark.verdict == FAILED]
    suite = ElementTree.Element("testsuite", {
        "name": report.exercise, "tests": str(len(report.marks)), "failures": str(len(failed)),
        "errors": str(len(undecided)), "time": f"{sum(mark.seconds for mark in report.marks):.3f}",
    })  # fmt: skip
    for mark in report.marks:
        about = {"classname": report.exercise, "name": mark.name, "time": f"{mark.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", about)
        if mark.verdict != PASSED:
            kind = "failure" if mark.verdict == FAILED else "error"
            message = f"{mark.verdict}, {mark.points} points"
            ElementTree.SubElement(case, kind, {"message": message, "type": mark.verdict}).text = told(mark)
    said = [*map(visible, preface(report).split("\n")), *wrote(report)]
    ElementTree.SubElement(suite, "system-out").text = "\n".join(said)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


FORMATS: dict[str, Callable[[Report], str]] = {
    "text": as_text,
    "json": as_json,
    "md": as_markdown,
    "junit": as_junit,
    "gradescope": as_gradescope,
    "classroom": as_classroom,
}
