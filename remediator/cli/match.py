"""`remediator match '{alertname="…", …}'`: what would be done about an alert with these labels, and the gates."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediator.cli.alert_plan import AlertPlan


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "match",
        help="what would be done about an alert with these labels",
        description="Show the service that owns an alert with these labels, the runbook for it, the first step's command, and which"
        " gates would hold it; or why nothing would be done. Nothing is run, and no running remediator is asked. Exit codes: 0"
        " something would be done, 1 nothing would be, 2 it cannot be told.",
    )
    parser.add_argument(
        "labels", metavar="LABELS", help="""such as '{alertname="HighErrorRate", service="checkout"}'"""
    )
    parser.add_argument("--config.file", dest="config_file", default="remediator.yml", metavar="FILE")
    parser.add_argument("--rules", nargs="+", metavar="FILE", help="rule files (default: those of the config)")
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        help="ask there what the thresholds say now (without it: taken to agree with the alert)",
    )
    parser.add_argument("--output", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what would be done."""
    import json
    import time
    from pathlib import Path

    from remediator.cli.alert_plan import as_json, matcher_labels, plan_for
    from remediator.cli.check.alert_findings import readings_now
    from remediator.cli.client import clean
    from remediator.config.policy import policy_of
    from remediator.config.servers import PrometheusServer
    from remediator.config.settings import Config, load_config
    from remediator.errors import RemediatorError
    from remediator.model.matcher import parse_matchers
    from remediator.rules.loader import load_rules

    try:
        labels = matcher_labels(parse_matchers(args.labels))
    except ValueError as error:
        raise RemediatorError(f"cannot read the labels: {error}") from None
    path = Path(args.config_file)
    config = (
        load_config(path) if path.exists() or not args.rules else Config(PrometheusServer(url="http://localhost:9090"))
    )
    files = [Path(name) for name in args.rules] if args.rules else config.rule_paths()
    rulebook, _ = load_rules(
        files, service_label=config.global_.service_label, prometheis=config.source_names if path.exists() else None
    )
    readings = readings_now(rulebook, args.prometheus, config) if args.prometheus else lambda _: None
    plan = plan_for(rulebook, policy_of(config), labels, time.time(), readings)
    if args.output == "json":
        print(json.dumps(as_json(plan), indent=2, ensure_ascii=False))
    else:
        for line in _lines(plan):
            print(clean(line))
    return 1 if plan.reason else 0


def _lines(plan: AlertPlan) -> Iterator[str]:
    from remediator.cli.client import one_line

    yield f"service   {plan.service or 'none'}"
    yield f"runbook   {plan.runbook or 'none'}"
    if plan.reason:
        yield f"nothing would be done: {plan.reason}"
        return
    call = f": {one_line(plan.call)}" if plan.call else ""
    yield f"would run {plan.step}{call}" + (f", {plan.condition}" if plan.condition else "")
    for gate in plan.gates:
        name = gate.gate.replace("_", " ")
        yield f"  {name} holds it: {gate.text}" if gate.holds else f"  {name} would hold it {gate.text}"
