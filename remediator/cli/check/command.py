"""`remediator check`: reports every problem of config and rule files; with a Prometheus, of their PromQL too."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from remediator.cli.check.alert_findings import AlertFinding
    from remediator.cli.check.prometheus_findings import ServiceValue
    from remediator.config.document import Document
    from remediator.config.settings import Config
    from remediator.problem import Position, Problem
    from remediator.rules.ruleset import RuleSet

_RULE_KEYS = frozenset({"services", "thresholds", "runbooks", "targets"})
_CONFIG_KEYS = frozenset(
    {"global", "prometheus", "alertmanagers", "grafana", "rule_files", "storage", "limits", "severity"}
)

_MAY_WARN = ("unknown-dependency", "empty-pattern", "unknown-allowance", "allowed-error")
"""Warnings that come neither from a lint nor from Prometheus."""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check",
        help="check config and rule files",
        description="Check config and rule files, and show every problem with its place and a remedy."
        " Exit codes: 0 none but warnings, 1 problems, 2 a file or Prometheus cannot be read.",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="rule files or configs (default: --config.file)")
    parser.add_argument("--config.file", dest="config_file", metavar="FILE", help="the config (default remediator.yml)")
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        help="also run each expression there, and show which services each threshold sees",
    )
    parser.add_argument(
        "--alertmanager",
        metavar="URL",
        help="also show which of the alerts that it sends to remediator are sent to no person",
    )
    parser.add_argument(
        "--alerts",
        action="store_true",
        help="also show what would be done about each alert that Prometheus' rules may raise (default: the config's Prometheus)",
    )
    parser.add_argument(
        "--targets",
        action="store_true",
        help="also ask the target of every named service, by its actions probe and replicas, whether it can be reached",
    )
    parser.add_argument("--html", metavar="FILE", help="with --alerts: also write that as a page there")
    parser.add_argument(
        "--output", choices=("text", "json", "github", "checkstyle"), default="text", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, and print the problems."""
    from remediator.config.document import open_document
    from remediator.config.settings import Global
    from remediator.errors import RemediatorError
    from remediator.problem import Severity
    from remediator.rules.loader import read_rules

    if args.html and not args.alerts:
        raise RemediatorError("cannot write a page: --html is for --alerts")
    names = list(dict.fromkeys(args.files)) or [args.config_file or "remediator.yml"]
    if args.files and args.config_file:
        names.insert(0, args.config_file)
    configs, rules, config = _configs_and_rules([open_document(Path(name)) for name in names])
    general = config.global_ if config is not None else Global()
    rule_set, problems = read_rules(
        rules,
        service_label=general.service_label,
        evaluation_interval=general.evaluation_interval,
        prometheis=config.source_names if config is not None else None,
    )
    problems = [p for document in configs for p in document.problems if document.tells(p)] + problems
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    unread = [problem for problem in problems if problem.check == "unreadable-file"]
    seen: list[ServiceValue] = []
    notes: list[str] = []
    failure = ""
    if args.prometheus and not errors:
        from remediator.cli.check.alert_severities import unnamed_severities
        from remediator.cli.check.prometheus_findings import ask_prometheus
        from remediator.cli.check.prometheus_servers import server_of
        from remediator.config.settings import DEFAULT_SEVERITY

        found, seen, failure = ask_prometheus(rule_set, args.prometheus, config)
        severities = config.severities() if config is not None else DEFAULT_SEVERITY
        if not failure and (unnamed := unnamed_severities(server_of(args.prometheus, config), severities)):
            notes.append(unnamed)
    else:
        found, unchecked = _checked_offline(rule_set)
        if args.prometheus:
            notes.append("Prometheus was not asked, because of the errors: correct them, and check again")
        if unchecked:
            notes.append(unchecked)
    alerts: list[AlertFinding] = []
    if args.alerts and not errors and not failure:
        alerts, failure = _alerts(rule_set, args.prometheus, config, args.html, notes.append)
    if args.targets and not errors:
        from remediator.cli.check.target_findings import find_targets

        found += find_targets(rule_set)
    if args.alertmanager:
        heard, refused = _heard_at_alertmanager(args.alertmanager, config, configs)
        if configs:
            found += heard
        else:
            notes += [problem.message for problem in heard]
        failure = "; ".join(filter(None, (failure, refused)))
    documents = {document.file: document for document in [*configs, *rule_set.documents]}
    found += _idle_allowances(documents.values())
    found = [problem for problem in found if not documents[problem.position.file].allows(problem)]
    known = {(problem.position, problem.check) for problem in problems}
    problems += [problem for problem in found if (problem.position, problem.check) not in known]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    files = {file: index for index, file in enumerate(documents)}
    problems.sort(key=lambda problem: (files[problem.position.file], problem.position.line, problem.position.column))
    if args.output == "json":
        document = _as_json(problems, rule_set, seen, "; ".join(notes), failure)
        print(json.dumps({**document, **_alerts_as_json(alerts)} if args.alerts else document, indent=2))
    elif args.output in ("github", "checkstyle"):
        from remediator.cli.check import report_formats as reports

        if told := (reports.github if args.output == "github" else reports.checkstyle)(problems):
            print(told)
    else:
        _show_seen(seen)
        if alerts:
            from remediator.cli.check.alert_report import show_alerts

            show_alerts(alerts)
        _show(problems, "" if failure else _summary(problems, rule_set))
    for text in [*notes, failure] if failure else notes:
        print(f"remediator: {text}", file=sys.stderr)
    return 2 if unread or failure else 1 if errors else 0


def _checked_offline(rules: RuleSet) -> tuple[list[Problem], str]:
    """Problems that promtool finds in the PromQL, and the reason if promtool could not be run."""
    from remediator.cli.check.expressions import expressions
    from remediator.cli.check.promtool_syntax import check_syntax
    from remediator.errors import RemoteError

    try:
        return check_syntax(list(expressions(rules))), ""
    except RemoteError as error:
        return [], f"the PromQL was not checked: {error}"


def _heard_at_alertmanager(url: str, config: Config | None, configs: Sequence[Document]) -> tuple[list[Problem], str]:
    """Warnings about Alertmanager's route, placed at the config's `alertmanagers`; and why it could not be asked."""
    from remediator.cli.check.alertmanager_findings import ask_alertmanager
    from remediator.problem import Position, Problem, Severity

    findings, failure = ask_alertmanager(url, config)
    place = configs[0].position("alertmanagers", key=True) if configs else Position(url, 1, 1)
    warnings = [Problem(place, check, text, remedy, Severity.WARNING) for check, text, remedy in findings]
    return warnings, failure


def _alerts(
    rules: RuleSet, url: str | None, config: Config | None, page: str | None, say: Callable[[str], object]
) -> tuple[list[AlertFinding], str]:
    """What would be done about each alert of Prometheus, also written as a page; and why it could not be asked."""
    from remediator.cli.check.alert_findings import find_alerts
    from remediator.cli.check.alert_report import write_page
    from remediator.rules.loader import make_rulebook

    if url is None and config is None:
        return [], "cannot read alert rules: give --prometheus URL, or a config"
    address = url or (config.sources[0].addresses[0] if config is not None else "")
    found, failure = find_alerts(make_rulebook(rules), address, config, say)
    if page and not failure:
        write_page(page, address, found)
    return found, failure


def _alerts_as_json(alerts: Iterable[AlertFinding]) -> dict[str, Any]:
    from remediator.cli.alert_plan import as_json
    from remediator.cli.check.alert_findings import finding_as_json

    return {"alerts": [finding_as_json(one, as_json(one.plan)) for one in alerts]}


def _idle_allowances(documents: Iterable[Document]) -> list[Problem]:
    """Warnings about allowances in comments that have no effect, which authors would not notice."""
    allowed = [(name, place) for document in documents for name, place in document.allowances()]
    return [problem for name, place in allowed if (problem := _idle_allowance(name, place)) is not None]


def _idle_allowance(name: str, place: Position) -> Problem | None:
    from remediator.cli.check import alertmanager_findings as alertmanager
    from remediator.cli.check import prometheus_findings as promql
    from remediator.config import document as yamldoc
    from remediator.problem import Problem, Severity
    from remediator.rules import checks
    from remediator.rules.lints import LINTS

    allowable = {*LINTS, *promql.CHECKS, *alertmanager.CHECKS, *_MAY_WARN}
    if name in allowable:
        return None
    if name in yamldoc.CHECKS or name in checks.CHECKS:
        message = f"{name} is an error, and cannot be allowed"
        return Problem(place, "allowed-error", message, "mend what it is of, and take this away", Severity.WARNING)
    message = f"there is no warning {name} that could be allowed"
    return Problem(place, "unknown-allowance", message, yamldoc.nearest(name, allowable), Severity.WARNING)


def _configs_and_rules(documents: Sequence[Document]) -> tuple[list[Document], list[Document], Config | None]:
    """Split documents into configs and rule files, and add the rule files that the configs name."""
    from remediator.config.document import open_document
    from remediator.config.settings import read_config, rule_files
    from remediator.problem import Severity

    configs, rules = [], []
    config = None
    for document in documents:
        if not _is_config(document):
            rules.append(document)
            continue
        configs.append(document)
        read = read_config(document, Path(document.file).parent)
        config = config or read
        for index, pattern in enumerate(read.rule_files if read is not None else ()):
            if not rule_files(pattern):
                message = "no file fits this pattern"
                document.report(("rule_files", index), "empty-pattern", message, severity=Severity.WARNING)
        for path in read.rule_paths() if read is not None else ():
            if str(path) not in {rule.file for rule in rules}:
                rules.append(open_document(path))
    return configs, rules, config


def _is_config(document: Document) -> bool:
    keys = document.keys()
    if keys & _RULE_KEYS:
        return False
    return bool(keys & _CONFIG_KEYS) or Path(document.file).name == "remediator.yml"


def _summary(problems: Sequence[Problem], rules: RuleSet) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = _many(len(problems) - errors, "warning") if len(problems) > errors else ""
    if errors:
        return f"FAILED: {_many(errors, 'error')}" + (f", {warnings}" if warnings else "")
    counts = ", ".join(_many(count, noun) for noun, count in _counts(rules).items() if count or noun != "target")
    return f"SUCCESS: {counts}" + (f" ({warnings})" if warnings else "")


def _counts(rules: RuleSet) -> dict[str, int]:
    kinds = (rules.services, rules.thresholds, rules.runbooks, rules.targets)
    return dict(zip(("service", "threshold", "runbook", "target"), map(len, kinds), strict=True))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _as_json(
    problems: Sequence[Problem], rules: RuleSet, seen: Sequence[ServiceValue], note: str, failure: str
) -> dict[str, Any]:
    return {
        "problems": [
            {
                "file": problem.position.file,
                "line": problem.position.line,
                "column": problem.position.column,
                "source": problem.position.source,
                "severity": str(problem.severity),
                "check": problem.check,
                "message": problem.message,
                "remedy": problem.remedy,
            }
            for problem in problems
        ],
        "counts": {f"{noun}s": count for noun, count in _counts(rules).items()},
        "seen": [
            {
                "threshold": one.threshold,
                "service": one.service,
                "value": one.value if math.isfinite(one.value) else str(one.value),
                "health": str(one.health),
            }
            for one in seen
        ],
        "note": note,
        "failure": failure,
    }


def _show_seen(seen: Sequence[ServiceValue]) -> None:
    from remediator.cli.client import show_table

    if seen:
        rows = [(one.threshold, one.service, f"{one.value:.6g}", one.health) for one in seen]
        show_table(("threshold", "service", "value now", "means"), rows, "")
        print()


def _show(problems: Sequence[Problem], summary: str) -> None:
    texts = [problem.render() for problem in problems]
    if not sys.stdout.isatty():
        for text in [*texts, summary] if summary else texts:
            print(text, end="\n" if text is summary else "\n\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for problem, text in zip(problems, texts, strict=True):
        colour = "red" if problem.severity == "error" else "yellow"
        shown = Text(text)
        shown.highlight_words([f"{problem.severity}:"], f"bold {colour}")
        shown.highlight_words([f"[{problem.check}]"], "dim")
        shown.highlight_regex(r"(?m)^\s+\^$", f"bold {colour}")
        console.print(shown, end="\n\n")
    if summary:
        console.print(Text(summary, "bold red" if summary.startswith("FAILED") else "bold green"))
