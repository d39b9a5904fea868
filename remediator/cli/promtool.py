"""What promtool says of the syntax of PromQL, with no Prometheus at hand.

promtool has no command that checks an expression alone: it is given a file of recording rules, one of each expression.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from remediator.cli.expressions import Expression
from remediator.errors import NeighbourError
from remediator.problem import Problem, Severity

TIMEOUT = 60.0
"""Seconds that promtool may take."""

_REFUSED = re.compile(r'rule \d+, "expression:(\d+)": (?:could not parse expression: )?(.*)')


def check_syntax(asked: Sequence[Expression]) -> list[Problem]:
    """The expressions that promtool refuses. NeighbourError when there is no promtool, or it cannot say.

    A function that it does not know is a warning: the Prometheus that is asked later may be a newer one.
    """
    if not asked:
        return []
    said = _said([expression.asked for expression in asked])
    return [_problem(asked[int(index)], error.strip()) for index, error in _REFUSED.findall(said)]


def _problem(expression: Expression, error: str) -> Problem:
    if "unknown function" in error:
        remedy = "correct its name; or is Prometheus newer than the promtool here? then use that one's"
        return expression.refused(error, remedy, Severity.WARNING)
    return expression.refused(error)


def _said(texts: Sequence[str]) -> str:
    """What promtool says to rules of these expressions, which it names `expression:` and their index."""
    program = shutil.which("promtool")
    if program is None:
        raise NeighbourError("there is no promtool here: install the package prometheus, which has it", retry=False)
    rules = [{"record": f"expression:{index}", "expr": text} for index, text in enumerate(texts)]
    with tempfile.TemporaryDirectory(prefix="remediator-") as folder:
        file = Path(folder) / "rules.yml"
        # JSON is YAML, but for its pairs of escapes.
        file.write_text(json.dumps({"groups": [{"name": "rules", "rules": rules}]}, ensure_ascii=False))
        try:
            done = subprocess.run(
                [program, "check", "rules", str(file)], capture_output=True, text=True, check=False, timeout=TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NeighbourError(f"cannot run promtool: {error}", retry=False) from None
    said = done.stdout + done.stderr
    if done.returncode and not _REFUSED.search(said):
        reason = " ".join(said.replace("FAILED:", "").replace(str(file), "the rules").split())
        raise NeighbourError(f"promtool says: {reason}", retry=False)
    return said
