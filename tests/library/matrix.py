"""The matrix of public alerts: `alerts.yml` read, evaluated by promtool, and asked of all rule files together.

What would be done about an alert is the engine's own decision on a service without a history, on what the thresholds
say of the same series. `test_matrix.py` compares it with the table; `coverage_page` shows it as rules/COVERAGE.md.
"""

from __future__ import annotations

import json
import re
import time
from functools import cache
from pathlib import Path

import msgspec
import yaml

from remediator.cli.alert_plan import AlertPlan, Readings, plan_for
from remediator.cli.check.alert_findings import readings_of
from remediator.clients.prometheus.answer import Answer, Series
from remediator.clients.promtool import ask_promtool
from remediator.config.policy import Policy
from remediator.model.health import QueryStatus
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Step
from remediator.rules.guards import with_guards
from remediator.rules.loader import load_rules
from remediator.template.compile import LabelView, TemplateKind, compile_template

LIBRARY = Path(__file__).parents[2] / "rules"
TABLE = Path(__file__).with_name("alerts.yml")
PAGE = LIBRARY / "COVERAGE.md"

NOW = "70m"
"""When everything is evaluated: after any `for` of the thresholds, and any time that they look back."""

_ASKED = re.compile(r'\s*expr: ("(?:[^"\\]|\\.)*"), time: \w+,(.*)')
_GOT = re.compile(r"\s*got: ?(.*)")
_SERIES = re.compile(r'(?:[a-zA-Z_:][\w:]*)?\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\} (\S+?)(?:, |$)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)=("(?:[^"\\]|\\.)*")')


class Row(msgspec.Struct, frozen=True):
    """One alert. Its `labels` are those that promtool finds with `expr` on `series`, or are played as they stand.

    It leads to `runbook` of `service` and the command `run` (`*` stands for anything), or to nothing, and why.
    """

    alert: str
    of: str
    labels: dict[str, str] = {}
    expr: str = ""
    series: dict[str, str] = {}
    service: str = ""
    runbook: str = ""
    run: str = ""
    nothing: str = ""
    played: str = ""
    """Why promtool does not evaluate an alert that leads to a command."""

    @property
    def fired(self) -> dict[str, str]:
        """The alert's labels, as it arrives."""
        return {"severity": "critical", **self.labels, "alertname": self.alert}


class Table(msgspec.Struct, frozen=True):
    """The table: addresses of collections by name, and the alerts."""

    collections: dict[str, str]
    alerts: list[Row]


@cache
def table() -> Table:
    return msgspec.convert(yaml.safe_load(TABLE.read_text(encoding="utf-8")), Table)


@cache
def rulebook() -> Rulebook:
    return load_rules(sorted(LIBRARY.glob("*.yml")), service_label="service")[0]


def plan(row: Row, readings: Readings = lambda _: None) -> AlertPlan:
    """What would be done about the alert; without readings, if the thresholds agree with it."""
    return plan_for(rulebook(), Policy(), row.fired, time.time(), readings)


def guards_of(row: Row) -> list[tuple[str, str]]:
    """`if` and `unless` of the first step, as they would be asked."""
    service = rulebook().service_for(row.fired)
    assert service is not None
    step = next(one for one in rulebook().runbooks if one.name == row.runbook).steps[0]
    return [(kind, _rendered(text, service, step.guard_empty)) for kind, text in _conditions(step) if text]


def _conditions(step: Step) -> list[tuple[str, str]]:
    return [("if", step.if_ or ""), ("unless", step.unless or "")]


def _rendered(guard: str, service: Service, guard_empty: bool) -> str:
    labels = LabelView(service.labels)
    context = {"labels": labels, "service": {"name": service.name, "labels": labels}}
    return compile_template(with_guards(guard, guard_empty=guard_empty), TemplateKind.PROMQL).render(context).strip()


def evaluate(cases: list[tuple[str, dict[str, str]]]) -> list[list[Series]]:
    """What promtool finds for each expression on its series, in one run."""
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            # The number tells equal expressions apart in what promtool prints.
            "promql_expr_test": [{"expr": f"{expr}\n# {index}", "eval_time": NOW}],
        }
        for index, (expr, series) in enumerate(cases)
    ]
    _, said = ask_promtool("test", {"rule_files": [], "tests": tests}, 300.0)
    found: list[list[Series]] = [[] for _ in cases]
    index = -1
    for line in said.splitlines():
        if asked := _ASKED.match(line):
            index = int(json.loads(asked[1]).rpartition("# ")[2])
            assert "err:" not in asked[2], line
        elif (got := _GOT.match(line)) and index >= 0:
            found[index] = [_series(one) for one in _SERIES.finditer(got[1])]
    assert "promql_expr_test" not in said, said
    return found


def _series(found: re.Match[str]) -> Series:
    labels = {name: json.loads(text) for name, text in _LABEL.findall(found[1])}
    return Series({name: text for name, text in labels.items() if name != "__name__"}, float(found[2]))


def readings_on(answers: dict[str, list[Series]]) -> Readings:
    """What thresholds say by these answers to their expressions."""

    def ask(expr: str, _: str) -> Answer:
        return Answer(time.time(), QueryStatus.SEEN, answers.get(expr, []))

    return readings_of(rulebook(), ask)


_HEAD = """# What the ready rules do about alerts of public collections

`make docs` writes this page from [the table](../tests/library/alerts.yml) that the tests play: promtool evaluates each
alert on series as its exporter has them, all rule files together decide about it, on the values that their thresholds
have of the same series. Of {total} alerts {acted} lead to a command, and {rest} to nothing, for the reason given.
Every command waits for approval, unless the mode is another.

| alert | of | on | does |
|---|---|---|---|
"""


def coverage_page() -> str:
    """The page as Markdown."""
    rows = sorted(table().alerts, key=lambda row: (row.alert.lower(), row.of))
    acted = sum(1 for row in rows if row.runbook)
    lines = [_HEAD.format(total=len(rows), acted=acted, rest=len(rows) - acted)]
    for row in rows:
        where = f"[{row.of}]({table().collections[row.of]})"
        does = f"{_step(row)} ({row.runbook})" if row.runbook else f"nothing: {row.nothing}"
        lines.append(f"| `{row.alert}` | {where} | {row.service} | {does} |\n")
    return "".join(lines)


def _step(row: Row) -> str:
    return next(one for one in rulebook().runbooks if one.name == row.runbook).steps[0].name
