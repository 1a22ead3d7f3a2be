"""The verdict on a run, for a person at a terminal: what was done to it, what it did, what that proves.

Everything is said in words; colour only repeats them, and a line is coloured by its first word.
"""

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import TextIO

from dsjq_lab import library
from dsjq_lab.checkers import CHECKERS
from dsjq_lab.model import Model
from dsjq_lab.report.explain import explain
from dsjq_lab.report.plain import visible
from dsjq_lab.results import Result, Ruling
from dsjq_lab.seen import Strike
from dsjq_lab.vacuity import planned, struck
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED

CHECKER = {checker.name: checker for checker in CHECKERS}
STRIKES_SHOWN, WIDTH = 3, 120
RED, GREEN, YELLOW, BOLD = "\033[31m", "\033[32m", "\033[33m", "\033[1m"
COLOURS = {"VIOLATED": RED, "FAIL": RED, "absent": RED, "PASS": GREEN, "UNKNOWN": YELLOW, "unknown": YELLOW}


def show(
    result: Result, run: Path, out: TextIO, *, verbose: bool = False, picture: Iterable[str] = ()
) -> None:
    colourful = out.isatty() and "NO_COLOR" not in os.environ
    for line in render(result, run, verbose=verbose, picture=picture):
        line = visible(line)
        print(painted(line) if colourful else line, file=out)


def render(
    result: Result, run: Path, *, verbose: bool = False, picture: Iterable[str] = ()
) -> Iterator[str]:
    """`picture`: the lines of a drawing of what went wrong, where somebody made one."""
    yield from heading(result)
    yield ""
    yield from faults(result.model, verbose)
    yield from totals(result.model)
    yield from effects(result.model)
    yield from unrest(result.model)
    yield ""
    yield from rulings(result, verbose)
    yield from explanations(result, verbose)
    yield ""
    for line in picture:
        yield f"  {line}"
    yield from conclusion(result, run)


def painted(line: str) -> str:
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    line = re.sub(r"<--.*$", rf"{RED}\g<0>\033[0m", line)
    return line.replace(word, f"{BOLD}{COLOURS[word]}{word}\033[0m", 1) if word in COLOURS else line


# -- The parts, from top to bottom ------------------------------------------------------------------------


def heading(result: Result) -> Iterator[str]:
    header, scenario = result.model.header, result.scenario
    yield f"{header.scenario}: {scenario.title}"
    workers, producers = some(scenario.workers.count, "worker"), some(scenario.load.producers, "producer")
    store = f" · {scenario.broker.store}" if header.durable and not header.options.get("core") else ""
    who = f"broker {header.broker}{store} · {workers} · {producers}"
    yield " · ".join([who, f"seed {header.seed}", *Variation.of(header).words()])


def faults(model: Model, verbose: bool) -> Iterator[str]:
    bitten = struck(model)
    if not planned(model):
        yield "  Faults     none planned"
        return
    holders = sum(strike.holding is not None for strike in bitten)
    effect = f"{len(planned(model))} planned, {len(bitten)} took effect"
    yield f"  Faults     {effect}, {holders} hit a worker holding a job"
    shown = bitten if verbose else bitten[:STRIKES_SHOWN]
    for strike in shown:
        yield f"    {strike_line(strike, model)}".rstrip()
    if len(bitten) > len(shown):
        yield f"     ...     {len(bitten) - len(shown)} more (--verbose)"


def strike_line(strike: Strike, model: Model) -> str:
    start_ns = model.header.start_ns
    holding = f"holding {strike.holding}" if strike.holding else ""
    back = f"back at {(strike.end_ns - start_ns) / 1e9:.2f} s" if strike.end_ns else ""
    exact = "exact" if strike.exact else ""
    time_s = ((strike.struck_ns or strike.begin_ns) - start_ns) / 1e9
    return f"{time_s:5.2f} s  {strike.verb + ' ' + strike.victim:<16} {holding:<16} {back:<16} {exact}"


def totals(model: Model) -> Iterator[str]:
    counts = model.counts()
    fates = {name: counts[name] for name in ("done", "dead", "lost")}
    optional = {"perhaps done": counts["perhaps_done"]}
    optional["not settled"] = counts["attempted"] - sum(fates.values()) - counts["perhaps_done"]
    yield f"  Jobs       {counts['attempted']} submitted = {sum_of(fates, optional)}"
    optional = {"after a crash": counts["after_crash"], "after FAIL": counts["after_fail"]}
    optional |= {"after RELEASE": counts["after_release"]}
    optional |= {"after a lease ran out": counts["after_lapse"], "after its ACK": counts["after_ack"]}
    optional |= {"while another held it": counts["while_held"], "unexpected": counts["unexpected"]}
    yield f"  Deliveries {counts['delivered']} = {sum_of({'first': counts['first']}, optional)}"
    if counts["duplicated"] and not counts["after_ack"] + counts["while_held"]:
        yield "             A job delivered twice is legal here: at-least-once."


def effects(model: Model) -> Iterator[str]:
    """What finished work left behind in the lab's ledger, where the scenario keeps one."""
    ledger = Counter(op.type for op in model.ops if op.process == "ledger")
    if ledger:
        turned_away = f", {ledger['fail']} turned away" if ledger["fail"] else ""
        yield f"  Effects    {ledger['ok']} written{turned_away}"


def unrest(model: Model) -> Iterator[str]:
    """Why the run did not come to rest. It may be a broker that says at length why it cannot start."""
    if model.end and not model.end.drained:
        first, *more = model.end.why.splitlines()
        yield from (f"  Unrest     {first}", *(f"             {line}" for line in more))


def rulings(result: Result, verbose: bool) -> Iterator[str]:
    """What the scenario asks about and what went wrong; the rest only in number."""
    focus = result.scenario.focus
    ordered = result.in_focus
    quiet = [] if verbose else [
        ruling for ruling in ordered
        if ruling.verdict.invariant not in focus and ruling.standing in (HOLDS, NOT_APPLICABLE)
    ]  # fmt: skip
    for ruling in ordered:
        if ruling not in quiet:
            yield from ruling_lines(ruling)
    for standing in (HOLDS, NOT_APPLICABLE):
        if count := sum(ruling.standing == standing for ruling in quiet):
            yield f"  {word(standing):<10} {f'{count} more':<22} (--verbose)"


def ruling_lines(ruling: Ruling) -> Iterator[str]:
    verdict, standing, because = ruling
    yield f"  {word(standing):<10} {verdict.invariant:<22} {first_line(verdict.summary)}"
    meaning = {
        "expected": f"as the scenario says it must be. {because}",
        "tolerated": f"as the scenario says it may be. {because}",
        "absent": f"but the scenario says that it must be violated. {because}",
    }.get(standing)
    if meaning:
        yield from textwrap.wrap(meaning, WIDTH, initial_indent=" " * 36, subsequent_indent=" " * 36)


def explanations(result: Result, verbose: bool) -> Iterator[str]:
    """One story for each job that something happened to, with all the rules that it breaks."""
    stories: dict[str, list[str]] = {}
    for verdict, standing, _ in result.in_focus:
        story = list(explain(verdict, result.model)) if standing in (VIOLATED, UNKNOWN) else []
        if story:
            about = verdict.job if verdict.job and not verbose else verdict.invariant
            lines = stories.setdefault(about, story)
            lines.append(f"Rule: {CHECKER[verdict.invariant].rule}")
    for lines in stories.values():
        yield from ("", *(f"  {line}" for line in lines))


def conclusion(result: Result, run: Path) -> Iterator[str]:
    if result.outcome == "pass":
        yield f"{tally(result):<72} {result.seconds:.1f} s"
    elif result.outcome == "fail":
        wrong = [ruling for ruling in result.in_focus if ruling.standing in (VIOLATED, "absent")]
        yield f"FAIL   {names_of(wrong)}     exit {result.exit_code}"
        first = wrong[0].verdict.invariant
        yield f"Why    dsjq-lab explain {first}     ({CHECKER[first].lab})"
    else:
        yield f"{tally(result):<72} {result.seconds:.1f} s"
        for reason in result.unproven:
            yield f"        {first_line(reason)}"
        yield f"        So this run proves nothing, for or against the broker.     exit {result.exit_code}"
    folder = run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run
    yield f"Run    {folder}     Look   report.html, trace.svg"
    if result.outcome != "pass":
        yield f"Again  dsjq-lab run {quote(str(folder))}"
    elif result.model.header.broker == "dsjq" and "p01" in library.contents("zoo"):
        yield "Next   a broker with a bug:  dsjq-lab run worker_churn --broker zoo/p01"


# -- Words ------------------------------------------------------------------------------------------------


def tally(result: Result) -> str:
    count = Counter(ruling.standing for ruling in result.rulings)
    always = [f"{count[HOLDS]} hold", f"{count[VIOLATED]} violated", f"{count[UNKNOWN]} unknown"]
    others = ("expected", "tolerated", "absent", NOT_APPLICABLE)
    if_any = [f"{count[standing]} {standing}" for standing in others if count[standing]]
    return f"{result.outcome.upper():<6} {', '.join([*always, *if_any])}"


def word(standing: str) -> str:
    return standing.upper() if standing == VIOLATED else {NOT_APPLICABLE: "n/a"}.get(standing, standing)


def names_of(wrong: list[Ruling]) -> str:
    """ "fifo, no_leak violated, effect_once absent" """
    names: dict[str, list[str]] = {}
    for verdict, standing, _ in wrong:
        names.setdefault(standing, []).append(verdict.invariant)
    return ", ".join(f"{', '.join(those)} {standing}" for standing, those in names.items())


def first_line(text: str) -> str:
    return text.partition("\n")[0]


def some(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")


def sum_of(always: dict[str, int], if_any: dict[str, int]) -> str:
    terms = always | {name: count for name, count in if_any.items() if count}
    return " + ".join(f"{count} {name}" for name, count in terms.items())
