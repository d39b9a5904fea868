"""`remediator test`: unit tests of rule files."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediator.problem import Problem
    from remediator.simulation.ruletest.loader import RuleTests
    from remediator.simulation.ruletest.runner import Played


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "test",
        help="unit tests of rule files",
        description="Play the tests of rule files with the real engine, on virtual time and without running anything."
        " Exit codes: 0 all is as expected, 1 something is not, 2 a test or rule file is wrong, or promtool is missing.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="test files")
    parser.add_argument(
        "--run", dest="only", metavar="REGEX", type=_regex, help="only tests whose name it fits somewhere"
    )
    parser.add_argument("--junit", metavar="FILE", help="also write the results there, as JUnit XML")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play the tests, and print what differs from the expectations."""
    from remediator.errors import ConfigError, RemediatorError
    from remediator.simulation.ruletest.junit import junit_xml
    from remediator.simulation.ruletest.loader import load_tests
    from remediator.simulation.ruletest.runner import play

    loaded: list[RuleTests] = []
    problems: list[Problem] = []
    for name in dict.fromkeys(args.files):
        try:
            loaded.append(load_tests(Path(name)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    played: dict[str, list[Played]] = {}
    for tests in loaded:
        done = played.setdefault(tests.file, [])
        for index, test in enumerate(tests.doc.tests):
            if args.only is None or args.only.search(test.name):
                done.append(play(tests, index))
                _show(done[-1])
    if args.junit:
        try:
            Path(args.junit).write_text(junit_xml(played), encoding="utf-8")
        except OSError as error:
            raise RemediatorError(f"cannot write {args.junit}: {error.strerror or error}") from None
    every = [test for tests in played.values() for test in tests]
    if not every:
        whose = f" whose name fits {args.only.pattern}" if args.only else ""
        raise RemediatorError(f"cannot test anything: there is no test{whose}")
    print(_summary(every))
    return 1 if any(test.failures for test in every) else 0


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def _show(test: Played) -> None:
    texts = [problem.render() for problem in test.failures]
    if not sys.stdout.isatty():
        for text in texts:
            print(text, end="\n\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for problem, text in zip(test.failures, texts, strict=True):
        shown = Text(text)
        shown.highlight_words(["error:"], "bold red")
        shown.highlight_words([f"[{problem.check}]"], "dim")
        shown.highlight_regex(r"(?m)^\s+\^$", "bold red")
        shown.highlight_regex(r"(?m)^    (- |expected ).*$", "red")
        shown.highlight_regex(r"(?m)^    (\+ |found ).*$", "green")
        console.print(shown, end="\n\n")


def _summary(tests: Sequence[Played]) -> str:
    hours = sum(test.simulated for test in tests) / 3600
    took = sum(test.took for test in tests)
    time = f"{hours:.1f} simulated hours in {took:.2f}s"
    failed = sum(bool(test.failures) for test in tests)
    count = f"{len(tests)} test" + ("" if len(tests) == 1 else "s")
    return f"FAILED: {failed} of {count}, {time}" if failed else f"SUCCESS: {count}, {time}"
