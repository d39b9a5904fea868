"""`remediator init`: the command; asks, drafts, and writes the files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remediator.cli.init.inventory import Inventory
    from remediator.cli.init.survey_result import AlertmanagerFacts, Survey
    from remediator.clients.http_options import HttpClient

_ALERTMANAGER = "http://localhost:9093"
_QUERY_TIMEOUT = 30.0


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "init",
        help="draft a first config and rule file from what Prometheus knows",
        description="Ask Prometheus which services there are and which of their metrics are known here, ask Alertmanager for its"
        " receivers, and write remediator.yml and rules/services.yml, with the schemas that editors check them by. Its runbooks"
        " observe: nothing is run. Exit codes: 1 when Prometheus knows of no service, 2 when it cannot be asked, or a file is there already.",
    )
    parser.add_argument(
        "--prometheus", type=_address, default="http://localhost:9090", metavar="URL", help="default: %(default)s"
    )
    parser.add_argument(
        "--alertmanager",
        type=_address,
        metavar="URL",
        help=f"default: {_ALERTMANAGER}, or none where nothing answers there",
    )
    parser.add_argument("--grafana", type=_address, metavar="URL", help="where annotations shall go; it is not asked")
    parser.add_argument(
        "--external-url",
        type=_address,
        default="http://localhost:9797",
        metavar="URL",
        help="how people reach remediator's pages; links lead there (default: %(default)s)",
    )
    parser.add_argument(
        "--http.config.file",
        dest="http_config",
        metavar="FILE",
        type=Path,
        help="basic_auth, authorization and tls_config for Prometheus and Alertmanager, as in Prometheus' http config",
    )
    parser.add_argument(
        "--service-label",
        type=_label,
        metavar="NAME",
        help="the label that names services (default: found)",
    )
    parser.add_argument("--directory", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there already")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask Prometheus and Alertmanager, and write the files."""
    import asyncio

    from remediator.cli.client import clean
    from remediator.cli.init.draft import CONFIG_SCHEMA, RULE_FILE, RULES_SCHEMA, draft_config, draft_rules
    from remediator.cli.init.errors import DraftError
    from remediator.cli.init.inventory import take_inventory
    from remediator.cli.schema import schema_text

    folder: Path = args.directory
    names = ("remediator.yml", RULE_FILE, CONFIG_SCHEMA, RULES_SCHEMA)
    present = [str(folder / name) for name in names if (folder / name).exists()]
    if present and not args.force:
        raise DraftError(
            f"cannot write {', '.join(present)}: already there (--force overwrites, --directory DIR goes elsewhere)"
        )
    prometheus = _client(args.prometheus, args.http_config)
    alertmanager = _client(args.alertmanager or _ALERTMANAGER, args.http_config)
    survey = _survey(prometheus, args.service_label or "")
    inventory = take_inventory(survey)
    if not inventory.services:
        # Prometheus was asked and answered: what it knows is not enough.
        print(
            clean(
                f"remediator: cannot draft rules: no series of the known metrics names a service by the label {survey.label}"
                + (f" but monitoring itself ({', '.join(inventory.monitors)})" if inventory.monitors else "")
                + "; name another one with --service-label"
            ),
            file=sys.stderr,
        )
        return 1
    facts = asyncio.run(_alertmanager_facts(alertmanager, optional=args.alertmanager is None))
    _write(
        folder,
        {
            RULE_FILE: draft_rules(survey, inventory, facts),
            CONFIG_SCHEMA: schema_text("config"),
            RULES_SCHEMA: schema_text("rules"),
            "remediator.yml": draft_config(
                survey, prometheus, alertmanager, facts, args.grafana or "", args.external_url
            ),
        },
    )
    _print_summary(survey, inventory, None if facts else alertmanager.url)
    config = "" if folder == Path() else f" --config.file={folder / 'remediator.yml'}"
    print(f"wrote {', '.join(str(folder / name) for name in names)}")
    _print_route(facts)
    print(f"next: read them; remediator check{config} --prometheus {args.prometheus}; remediator serve{config}")
    return 0


def _client(url: str, file: Path | None) -> HttpClient:
    """The options of a server, for this command and for the drafted config.

    File names become absolute, because names in the config are relative to the config's folder.
    """
    from remediator.cli.http_config_file import read_http_file
    from remediator.cli.init.errors import DraftError
    from remediator.clients.http_options import HttpClient, secrets_in
    from remediator.config.servers import beside_client

    if file is None:
        return HttpClient(url)
    client = read_http_file(url, file)
    for secret in secrets_in(client):
        raise DraftError(
            f"cannot copy the {secret} in {file} to a config: put it in a file of its own, and write {secret}_file: there"
        )
    return beside_client(client, Path.cwd())


def _survey(client: HttpClient, label: str) -> Survey:
    import asyncio

    from remediator.cli.init.survey import survey_prometheus
    from remediator.clients.prometheus.client import Prometheus
    from remediator.metrics import Metrics

    prometheus = Prometheus(client, query_timeout=_QUERY_TIMEOUT, metrics=Metrics())
    try:
        return survey_prometheus(prometheus.query_blocking, label)
    finally:
        asyncio.run(prometheus.close())


async def _alertmanager_facts(client: HttpClient, *, optional: bool) -> AlertmanagerFacts | None:
    """What Alertmanager knows. None if it is optional and does not answer."""
    from remediator.cli.init.survey import survey_alertmanager
    from remediator.clients.alertmanager import Alertmanagers, Member
    from remediator.errors import RemoteError

    alertmanagers = Alertmanagers([Member(client)])
    try:
        return await survey_alertmanager(alertmanagers)
    except RemoteError:
        if not optional:
            raise
        return None
    finally:
        await alertmanagers.close()


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    from remediator.cli.init.errors import DraftError

    for name, text in texts.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DraftError(f"cannot write {path}: {error.strerror}") from None


def _print_route(facts: AlertmanagerFacts | None) -> None:
    from remediator.cli.init.alertmanager_route import complete_route

    route = complete_route(facts.config) if facts is not None else ""
    if route:
        print(
            "Alertmanager's configuration needs this in the place of its route, and remediator's receiver beside the others;"
        )
        print("it takes alerts from no other receiver, and remediator.yml has it as a comment:")
        print(route)


def _print_summary(survey: Survey, inventory: Inventory, missing: str | None) -> None:
    from remediator.cli.client import clean

    print(clean(f"service label {survey.label}: {survey.reason}"))
    for result in inventory.results:
        name = result.question.name
        count = sum(name in service.judged.values() for service in inventory.services)
        print(f"  {name}: {count} of {_many(inventory.services)}, from {result.question.metric}")
    kept = {result.question.name for result in inventory.results}
    for name in (result.question.name for result in survey.results if result.question.name not in kept):
        print(f"  left out: {name}: what it sees has no label {survey.label}, or is judged already")
    if inventory.monitors:
        print(clean(f"  left out: {', '.join(inventory.monitors)}: monitoring itself, or exporters"))
    for sentence in survey.unanswered:
        print(clean(f"  left out: {sentence}"))
    if missing:
        print(f"no Alertmanager answers at {missing}: the config has a comment in its place")


def _many(services: Sequence[object]) -> str:
    return "1 service" if len(services) == 1 else f"{len(services)} services"


def _address(text: str) -> str:
    from urllib.parse import urlsplit

    from remediator.config.servers import http_url

    try:
        http_url(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as http://localhost:9090") from None
    if "@" in urlsplit(text).netloc:
        raise argparse.ArgumentTypeError("credentials do not belong in an address: write them in --http.config.file")
    return text.rstrip("/")


def _label(text: str) -> str:
    from remediator.config.settings import label_name

    try:
        return label_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} such as service") from None
