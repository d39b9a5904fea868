"""Checks the syntax of PromQL with promtool, without a Prometheus.

promtool has no command for a single expression, so it gets a file of recording rules, one per expression.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from remediator.cli.check.expressions import Expression
from remediator.clients.promtool import ask_promtool
from remediator.errors import RemoteError
from remediator.problem import Problem, Severity
from remediator.rules.promql_words import without_quoted_names

TIMEOUT = 60.0
"""Maximum run time of promtool in seconds."""

_REFUSED = re.compile(r'rule \d+, "expression:(\d+)": (?:could not parse expression: )?(.*)')


def check_syntax(asked: Sequence[Expression]) -> list[Problem]:
    """The expressions that promtool refuses. RemoteError when there is no promtool, or it cannot say.

    An unknown function is only a warning, and so are label names in quotes: the Prometheus that is asked later may be
    newer than the promtool here.
    """
    refused = _refused(asked, [expression.asked for expression in asked])
    quoted = [expression for expression in refused if expression.asked != without_quoted_names(expression.asked)]
    still = _refused(quoted, [without_quoted_names(expression.asked) for expression in quoted])
    problems = []
    for expression, error in refused.items():
        if expression in quoted and expression not in still:
            remedy = "Prometheus 3 takes names in quotes: have its promtool here to check the expression"
            problems.append(expression.refused(error, remedy, Severity.WARNING))
        else:
            problems.append(_problem(expression, still.get(expression, error)))
    return problems


def _refused(asked: Sequence[Expression], texts: Sequence[str]) -> dict[Expression, str]:
    """The expressions whose texts promtool refuses, with its words."""
    said = _promtool_output(texts) if texts else ""
    return {asked[int(index)]: error.strip() for index, error in _REFUSED.findall(said)}


def _problem(expression: Expression, error: str) -> Problem:
    if "unknown function" in error:
        remedy = "correct its name; or is Prometheus newer than the promtool here? then use that one's"
        return expression.refused(error, remedy, Severity.WARNING)
    return expression.refused(error)


def _promtool_output(texts: Sequence[str]) -> str:
    """promtool's output about rules of these expressions; each is named `expression:` and its index."""
    rules = [{"record": f"expression:{index}", "expr": text} for index, text in enumerate(texts)]
    code, said = ask_promtool("check", {"groups": [{"name": "rules", "rules": rules}]}, TIMEOUT)
    if code and not _REFUSED.search(said):
        raise RemoteError(f"promtool says: {' '.join(said.replace('FAILED:', '').split())}", retry=False)
    return said
