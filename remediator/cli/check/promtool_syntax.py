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

TIMEOUT = 60.0
"""Maximum run time of promtool in seconds."""

_REFUSED = re.compile(r'rule \d+, "expression:(\d+)": (?:could not parse expression: )?(.*)')


def check_syntax(asked: Sequence[Expression]) -> list[Problem]:
    """The expressions that promtool refuses. RemoteError when there is no promtool, or it cannot say.

    An unknown function is only a warning: the Prometheus that is asked later may be newer.
    """
    if not asked:
        return []
    said = _promtool_output([expression.asked for expression in asked])
    return [_problem(asked[int(index)], error.strip()) for index, error in _REFUSED.findall(said)]


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
