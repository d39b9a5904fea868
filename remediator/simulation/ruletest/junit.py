"""Test results as JUnit XML, the format that CI servers show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from remediator.simulation.ruletest.runner import Played


def junit_xml(files: Mapping[str, Sequence[Played]]) -> str:
    """The document, with a test suite for each file."""
    root = Element("testsuites")
    for file, tests in files.items():
        failed = sum(bool(test.failures) for test in tests)
        took = sum(test.took for test in tests)
        suite = SubElement(
            root, "testsuite", name=file, tests=str(len(tests)), failures=str(failed), errors="0", time=f"{took:.3f}"
        )
        for test in tests:
            case = SubElement(suite, "testcase", name=test.name, classname=file, file=file, time=f"{test.took:.3f}")
            for problem in test.failures:
                failure = SubElement(case, "failure", type=problem.check, message=_printable(problem.message))
                failure.text = _printable(problem.render())
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _printable(text: str) -> str:
    """The text with every character that XML cannot express replaced."""
    return "".join(char if char in "\n\t" or char.isprintable() else "\ufffd" for char in text)
