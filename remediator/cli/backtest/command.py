"""`remediator backtest`: what the rules would have done, by what Prometheus remembers."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remediator.clients.prometheus.client import Prometheus
    from remediator.config.policy import Policy
    from remediator.config.settings import Config
    from remediator.model.matcher import Matcher
    from remediator.model.rulebook import Rulebook
    from remediator.simulation.backtest.data.history import History
    from remediator.simulation.backtest.replay import ReplayReading
    from remediator.simulation.backtest.report import Report

_UNIX = re.compile(r"\d{9,11}(\.\d+)?")


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "backtest",
        help="what the rules would have done, by Prometheus' history",
        description="Replay thresholds and alerts as Prometheus remembers them through the real engine, on virtual time, and show"
        " what would have been run, held and why. Nothing is run. Exit codes: 0 done, 2 it cannot be replayed.",
    )
    parser.add_argument("--config.file", dest="config_file", metavar="FILE", help="the config (default remediator.yml)")
    parser.add_argument("--from", dest="start", default="7d", type=_moment, help="how long ago, or when (default 7d)")
    parser.add_argument("--to", dest="end", default="now", type=_moment, help="the same (default now)")
    parser.add_argument(
        "--step", default="15s", type=_duration, help="how often thresholds are evaluated (default 15s)"
    )
    parser.add_argument("--rules", nargs="+", metavar="FILE", help="rule files (default: those of the config)")
    parser.add_argument("--against", nargs="+", metavar="FILE", help="rule files to compare them with")
    parser.add_argument("--prometheus", metavar="URL", help="the Prometheus to ask (default: that of the config)")
    alerts = parser.add_mutually_exclusive_group()
    alerts.add_argument(
        "--alerts",
        action="append",
        metavar="MATCHER",
        help="only alerts that fit came by the webhook, as in a route of Alertmanager; can be given again",
    )
    alerts.add_argument("--no-alerts", action="store_true", help="none did: judge by thresholds alone")
    parser.add_argument(
        "--reading",
        choices=("recorded", "cured", "both"),
        default="both",
        help="what a heal is taken to have changed: nothing, or that it ended the trouble (default: both)",
    )
    parser.add_argument(
        "--as-written", action="store_true", help="keep the modes of runbooks; otherwise all are played as auto"
    )
    parser.add_argument("--html", metavar="FILE", help="also write a page with a timeline of every service there")
    parser.add_argument("--output", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--cache", metavar="DIR", type=Path, help="where answers are kept, to go on with later")
    parser.add_argument("--refresh", action="store_true", help="ask everything again, whatever is kept there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay, and print the report."""
    from remediator.cli.backtest.html_file import page_file
    from remediator.cli.backtest.text_report import show_report
    from remediator.simulation.backtest.report import as_json

    with page_file(args.html) as write_page:
        report = _report(args)
        write_page(report)
    if args.output == "json":
        print(json.dumps(as_json(report), indent=2, ensure_ascii=False))
    else:
        show_report(report)
    return 0


def _report(args: argparse.Namespace) -> Report:
    from remediator.config.policy import policy_of
    from remediator.errors import RemediatorError
    from remediator.model.rules import Mode
    from remediator.simulation.backtest.replay import ReplayReading, in_earnest
    from remediator.simulation.backtest.report import Report

    config = _config(args)
    files = [Path(name) for name in args.rules] if args.rules else config.rule_paths()
    if not files:
        raise RemediatorError("cannot backtest: there are no rule files: give them after --rules, or in the config")
    rules, policy = _rules(files, config), policy_of(config)
    old = _rules([Path(name) for name in args.against], config) if args.against else None
    earnest: tuple[str, ...] = ()
    if not args.as_written:
        earnest = tuple(runbook.name for runbook in rules.runbooks if runbook.mode is not Mode.AUTO)
        rules, earnest_policy = in_earnest(rules, policy)
        old = in_earnest(old, policy)[0] if old is not None else None
        policy = earnest_policy
    readings = list(ReplayReading) if args.reading == "both" else [ReplayReading(args.reading)]
    alerts = None if args.no_alerts else _matchers(args.alerts or [])
    rule_sets = [rules] if old is None else [rules, old]
    with _history(args, config, rule_sets, alerts) as history, _progress() as bar:
        exprs = _exprs(rule_sets, alerts)
        count = len(history.stretches())
        history.gather(exprs, bar("asking Prometheus", count * len(exprs)))
        count = len(history.stretches())
        findings, against = {}, {}
        for reading in readings:
            findings[reading] = _found(rules, policy, history, reading, alerts, bar(f"replaying, {reading}", count))
            if old is not None:
                on_stretch = bar(f"replaying the others, {reading}", count)
                against[reading] = _found(old, policy, history, reading, alerts, on_stretch)
        _tell_kept(history)
    interval = config.global_.evaluation_interval
    return Report(findings, against, earnest, tuple(history.warnings), interval, tuple(history.remarks))


def _found(
    rules: Rulebook,
    policy: Policy,
    history: History,
    reading: ReplayReading,
    alerts: list[Matcher] | None,
    on_stretch: Callable[[], None],
) -> Any:
    from remediator.simulation.backtest.analysis.findings import findings
    from remediator.simulation.backtest.replay import replay

    replayed = replay(rules, policy, history, reading, alerts, on_stretch)
    return findings(
        replayed,
        reading,
        history.start,
        history.end,
        history.step,
        rules.named,
        seen_from=float(history.remembered_from),
    )


def _config(args: argparse.Namespace) -> Config:
    from remediator.config.servers import PrometheusServer
    from remediator.config.settings import Config, load_config

    file = Path(args.config_file or "remediator.yml")
    if args.config_file is None and args.prometheus and not file.exists():
        return Config(PrometheusServer(url=args.prometheus))
    config = load_config(file)
    addresses = {address for source in config.sources for address in source.addresses}
    if args.prometheus and args.prometheus.rstrip("/") not in addresses:
        import msgspec

        # Credentials of the config are only for the address in the config.
        config = msgspec.structs.replace(config, prometheus=PrometheusServer(url=args.prometheus))
    return config


def _rules(files: list[Path], config: Config) -> Rulebook:
    from remediator.rules.loader import load_rules

    rulebook, _ = load_rules(files, service_label=config.global_.service_label)
    return rulebook


def _matchers(texts: list[str]) -> list[Matcher]:
    from remediator.errors import RemediatorError
    from remediator.model.matcher import parse_matcher

    try:
        return [parse_matcher(text) for text in texts]
    except ValueError as error:
        raise RemediatorError(f"cannot read --alerts: {error}") from None


def _exprs(rule_sets: list[Rulebook], alerts: list[Matcher] | None) -> list[str]:
    from remediator.simulation.backtest.data.history import ALERTS

    exprs = [threshold.expr.strip() for rules in rule_sets for threshold in rules.thresholds]
    return list(dict.fromkeys([*exprs, *([ALERTS] if alerts is not None else [])]))


@contextlib.contextmanager
def _history(
    args: argparse.Namespace, config: Config, rule_sets: list[Rulebook], alerts: list[Matcher] | None
) -> Iterator[History]:
    import asyncio

    from remediator.errors import RemediatorError
    from remediator.metrics import Metrics
    from remediator.simulation.backtest.data.history import History, default_folder, open_folder, refuse_to_look_ahead
    from remediator.simulation.backtest.data.prometheus_sources import PrometheusSources, sources_of
    from remediator.simulation.backtest.data.retention import beginning, plain_conditions, stretch_for

    step = max(1, round(args.step))
    now = time.time()
    start, end = (round(moment(now) // step) * step for moment in (args.start, args.end))
    end = min(end, round(now // step) * step)
    if start < 0:
        raise RemediatorError("cannot backtest: --from lies before 1970")
    if end - start < step:
        raise RemediatorError(f"cannot backtest: --from has to be a step ({step}s) or more before --to, and before now")
    for rules in rule_sets:
        refuse_to_look_ahead(rules.thresholds, start)
    folder = open_folder(args.cache or default_folder())
    clients = {source.name: source.client(query_timeout=120.0, metrics=Metrics()) for source in config.sources}
    prometheus = PrometheusSources(clients, sources_of(rule_sets))
    try:
        exprs = _exprs(rule_sets, alerts)
        asked, start = start, beginning(prometheus, start, end, step)
        times = [end, (start + end) // 2 // step * step, start]
        exprs += [expr for rules in rule_sets for expr in plain_conditions(rules)]
        stretch = stretch_for(prometheus, list(dict.fromkeys(exprs)), times, step)
        # Another user may see other series at the same address.
        source = repr([(source.addresses, sorted(source.all_headers().items())) for source in config.sources])
        history = History(prometheus, source, folder, start, end, step, stretch, asked, args.refresh)
        try:
            yield history
        finally:
            history.close()
    finally:
        asyncio.run(_close(clients.values()))


async def _close(clients: Iterable[Prometheus]) -> None:
    for client in clients:
        await client.close()


def _tell_kept(history: History) -> None:
    from remediator.model.durations import rough_duration

    if history.kept:
        ago = rough_duration(max(0.0, time.time() - min(history.kept)))
        print(
            f"{len(history.kept)} of {history.answers} answers were kept from before, the oldest asked {ago} ago;"
            " --refresh asks again",
            file=sys.stderr,
        )


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """Progress bars on the terminal. Yields a function that takes a text and a number of parts, and returns
    what to call after each part."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def bar(text: str, parts: int) -> Callable[[], None]:
            task = progress.add_task(text, total=parts)
            return lambda: progress.advance(task)

        yield bar


def _moment(text: str) -> Callable[[float], float]:
    """A time from the command line, as a function from now to seconds since the epoch."""
    from datetime import UTC, datetime

    from remediator.model.durations import parse_duration

    if text == "now":
        return lambda now: now
    if _UNIX.fullmatch(text):
        return lambda _: float(text)
    with contextlib.suppress(ValueError):
        ago = parse_duration(text)
        return lambda now: now - ago
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a duration such as 7d nor a time such as 2026-01-31T12:00:00Z"
        raise argparse.ArgumentTypeError(message) from None
    return lambda _: (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(text: str) -> float:
    from remediator.model.durations import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if seconds < 1:
        raise argparse.ArgumentTypeError("a step is at least 1s")
    return seconds
