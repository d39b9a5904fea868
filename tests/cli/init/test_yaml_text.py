"""What init writes is YAML whatever the names from outside contain, and says nothing but what was meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remediator.cli.init.conventions import CONVENTIONS, SeriesKind, expression
from remediator.cli.init.draft import draft_config, draft_rules
from remediator.cli.init.inventory import take_inventory
from remediator.cli.init.questions import Question
from remediator.cli.init.survey_result import AlertmanagerFacts, QuestionResult, Survey
from remediator.cli.init.yaml_text import block, comment, flow, scalar
from remediator.clients.http_options import HttpClient
from remediator.config.document import Document
from remediator.config.settings import read_config
from remediator.rules.loader import make_rulebook, read_rules

PIECES = st.sampled_from(
    [
        *["\n", "\r", "\r\n", "\t", "\x00", "\x1b[2J", "\x85", "\u2028", "\u2029", "\ufeff", "\u202e", "\u2066", "\u00a0"],
        *["{{ labels.x }}", "{% raw %}", "#", " #", ": ", "- ", "---", "...", "&a", "*a", "!!python/name:os.system", "%"],
        *["'", '"', "\\", "`", "|", ">", "@", "?", "[", "]", "{", "}", ",", "~", "yes", "null", "0x1f", "1e3", "12:30"],
        *["remediator: allow no-series", "# remediator: allow all", "yaml-language-server: $schema=http://h", "😀", "\U000e0001"],
        *["receiver: x", "\nreceivers: [{name: x}]", "\n# \nglobal: {auto_heal: false}", "a", "web", "é", "x" * 300],
    ]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=4), min_size=1, max_size=5).map("".join)
"""Names as a stranger may choose them; no half of a surrogate pair, which UTF-8 cannot carry."""


@settings(deadline=None)
@given(HOSTILE)
@example("remediator:\u2003allow x")
def test_a_scalar_is_one_line_and_reads_back(text: str) -> None:
    written = scalar(text)
    assert len(written.splitlines()) == 1
    assert yaml.safe_load(written) == text
    assert yaml.safe_load(f"a: {{b: {written}, c: [{written}]}}   # x") == {"a": {"b": text, "c": [text]}}
    document = Document("x.yml", f"a: {written} # {written}\n")
    assert list(document.allowances()) == []


@given(st.recursive(HOSTILE | st.booleans(), lambda deep: st.lists(deep, max_size=3) | st.dictionaries(HOSTILE, deep, min_size=1, max_size=3)))  # fmt: skip
def test_a_block_reads_back(value: Any) -> None:
    assert yaml.safe_load(flow(value)) == value
    assert yaml.safe_load(block({"a": value, "b": {"c": value}})) == {"a": value, "b": {"c": value}}


@settings(deadline=None)
@given(HOSTILE)
def test_a_comment_stays_one(text: str) -> None:
    written = comment(text, 2)
    assert all(line.startswith("  # ") or line.strip() == "#" for line in written.splitlines())
    assert yaml.safe_load(written) is None
    assert list(Document("x.yml", written).allowances()) == []
    assert not re.search(r"(?m)^\s*#\s*yaml-language-server:", written)


LABELS = {
    SeriesKind.SERVICE: ("service",),
    SeriesKind.DEPLOYMENT: ("namespace", "deployment", "service"),
    SeriesKind.CONTAINER: ("name", "service"),
    SeriesKind.MACHINE: ("instance",),
    SeriesKind.PROBE: ("instance", "service"),
    SeriesKind.UNIT: ("service", "host"),
}
"""The labels that the expressions of each kind keep."""


def results(names: list[str]) -> tuple[QuestionResult, ...]:
    """What a Prometheus answers whose labels have these values everywhere."""
    found = []
    for convention in CONVENTIONS:
        metric = convention.metrics[0].replace("(.+_)?", "")
        labels = (dict.fromkeys(LABELS[convention.kind], name) for name in names)
        question = Question(convention.name, convention, metric, expression(convention, metric, "service", ("code",)))
        found.append(QuestionResult(question, tuple(labels)))
    return tuple(found)


@settings(deadline=None)
@given(
    st.lists(HOSTILE, min_size=1, max_size=4, unique=True),
    HOSTILE,
    st.sampled_from(["", "h:9797/webhook", "h:1/x"]),
    st.booleans(),
)
def test_drafts_say_what_was_meant_whatever_names_there_are(
    names: list[str], receiver: str, webhook: str, routed: bool
) -> None:
    receivers = [{"name": receiver, **({"webhook_configs": [{"url": f"http://{webhook}"}]} if webhook else {})}]
    route = {
        "receiver": receiver if routed else "people",
        "routes": [{"receiver": names[0], "match": {"a": names[-1]}}],
    }
    config = yaml.safe_dump({"route": route, "receivers": receivers})
    facts = AlertmanagerFacts(config, tuple({"alertname": name} for name in names))
    survey = Survey("service", f"as {names[0]} says", results(names))

    text = draft_config(survey, HttpClient("http://p:1"), HttpClient("http://a:1"), facts, "http://g:1")
    document = Document("remediator.yml", text)
    found = read_config(document, Path())
    assert document.problems == []
    assert found is not None
    ours = webhook == "h:9797/webhook" or (webhook and receiver == "remediator")
    assert [(one.url, one.receiver) for one in found.alertmanagers] == [("http://a:1", receiver if ours else "")]
    assert set(yaml.safe_load(text)) == {"global", "prometheus", "alertmanagers", "grafana", "rule_files", "storage"}
    assert msgspec.to_builtins(found.global_)["service_label"] == "service"
    assert list(document.allowances()) == []

    inventory = take_inventory(survey)
    if not inventory.services:
        return
    text = draft_rules(survey, inventory, facts)
    document = Document("services.yml", text)
    rules, problems = read_rules([document], service_label="service")
    assert problems == []
    assert list(document.allowances()) == []
    assert set(yaml.safe_load(text)) <= {"services", "thresholds", "runbooks", "targets"}
    rulebook = make_rulebook(rules)
    assert {service.name for service in rulebook.services} == {service.name for service in inventory.services}
