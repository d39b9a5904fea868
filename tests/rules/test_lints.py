"""The warnings of rules that are allowed and hardly meant, and how an author says that they are meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remediator.cli import main
from remediator.rules.lints import LINTS
from remediator.rules.lints.labels import needed_labels
from remediator.template.compile import TemplateKind

ROOT = Path(__file__).parents[2]
RULES = """\
services:
  - {{name: web, labels: {{tier: web}}, target: systemd}}
  - {{name: db, labels: {{tier: db}}, target: systemd}}
thresholds:
  - {{name: errors, expr: errors, failed: '> 0.1', match: [{threshold}]}}
runbooks:
  - name: heal
    match: [{runbook}]
    steps: [restart]
    verify: {{healthy_for: 10s, within: 2m}}
    limits: {{cooldown: {cooldown}}}{comment}
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], text: str, *flags: str) -> str:
    """What check says of the rules, which it has to accept."""
    Path("rules.yml").write_text(text)
    assert main(["check", *flags, "rules.yml"]) == 0
    return capsys.readouterr().out


def of_rules(**changes: str) -> str:
    return RULES.format(**{"threshold": "", "runbook": "", "cooldown": "5m", "comment": "", **changes})


def warnings(said: str) -> list[str]:
    """The names of the warnings, in the order of the lines."""
    return re.findall(r"^rules\.yml:\d+:\d+: warning: .* \[([a-z-]+)\]$", said, re.MULTILINE)


def test_rules_that_are_meant_are_not_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    said = checked(capsys, of_rules(threshold='tier="web"', runbook='tier=~"web|db", alertname="Down"'))
    assert said == "SUCCESS: 2 services, 1 threshold, 1 runbook\n"


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"cooldown": "30s"},
            "rules.yml:11:24: warning: cooldown 30s is shorter than within 2m: a new heal may begin before the last one"
            " could be seen to help [short-cooldown]",
        ),
        (
            {"threshold": 'tier="cache"'},
            "rules.yml:5:58: warning: threshold errors judges no service: none has labels that its matchers want"
            " [matches-no-service]",
        ),
        (
            {"threshold": 'team="x"'},
            "rules.yml:5:58: warning: threshold errors judges no service: none has labels that its matchers want"
            " [matches-no-service]",
        ),
        (
            {"runbook": 'tier="cache"'},
            "rules.yml:8:12: warning: runbook heal is for no service: all have other labels than its matchers want"
            " [matches-no-service]",
        ),
    ],
)
def test_each_lint(capsys: pytest.CaptureFixture[str], changes: dict[str, str], warning: str) -> None:
    said = checked(capsys, of_rules(**changes))
    assert said.startswith(f"{warning}\n")
    assert said.endswith("SUCCESS: 2 services, 1 threshold, 1 runbook (1 warning)\n")


@pytest.mark.parametrize(
    ("rule", "matcher", "warned"),
    [
        ("threshold", 'kind="deploymnt"', True),  # each has another
        ("threshold", 'kind="deployment"', False),
        ("threshold", 'kind="machine"', False),  # the one with a plain name
        ("threshold", 'team="x"', True),  # the series may have it, but what is made of them has not
        ("threshold", 'team!="x"', False),
        ("threshold", 'namespace="shop"', False),  # used in the name
        ("threshold", 'service=~"shop/.+"', False),  # the name itself
        ("threshold", 'zone="eu"', False),  # the label is a template
        ("threshold", 'size="big"', False),  # and so is this one
        ("threshold", 'kind="machine", namespace="shop"', True),  # each has a part of it
        ("runbook", 'kind="deploymnt"', True),
        ("runbook", 'kind="deployment"', False),
        ("runbook", 'team="x"', False),  # an alert may bring it
        ("runbook", 'size="big"', False),
    ],
)
def test_what_templated_services_surely_have_not(
    capsys: pytest.CaptureFixture[str], rule: str, matcher: str, warned: bool
) -> None:
    said = checked(
        capsys,
        f"""\
services:
  - name: '{{{{ labels.namespace }}}}/{{{{ labels.app }}}}'
    match: ['namespace!=""', 'app!=""']
    labels:
      kind: deployment
      zone: '{{{{ labels.namespace }}}}'
      size: '{{% if labels.app == "web" %}}big{{% else %}}small{{% endif %}}'
    target: kubernetes
  - {{name: host, labels: {{kind: machine, size: small}}, target: systemd}}
thresholds:
  - {{name: errors, expr: errors, failed: '> 0.1', match: [{matcher if rule == "threshold" else ""}]}}
runbooks:
  - {{name: heal, steps: [restart], match: [{matcher if rule == "runbook" else ""}]}}
""",
    )
    assert warnings(said) == (["matches-no-service"] if warned else [])


def test_nothing_is_said_of_services_of_which_a_part_could_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("rules.yml").write_text(
        "services: [{name: web, labels: {tier: [web]}}]\n"
        "thresholds: [{name: errors, expr: errors, failed: '> 0.1', match: ['tier=\"web\"']}]\n"
    )
    assert main(["check", "rules.yml"]) == 1
    assert "matches-no-service" not in capsys.readouterr().out


# Runbooks that others keep from their services.

TWO = """\
services:
  - {name: web, labels: {tier: web}, target: systemd}
  - {name: db, labels: {tier: db}, target: systemd}
runbooks:
"""


@pytest.mark.parametrize(
    ("runbooks", "found"),
    [
        # Neither of the first two alone takes it all.
        (
            [
                """{name: a, match: ['tier="web"'], steps: [restart]}""",
                """{name: b, match: ['tier="db"'], steps: [restart]}""",
                """{name: c, match: ['alertname="X"'], steps: [restart]}""",
            ],
            [
                "rules.yml:7:12: warning: runbook c is never chosen: before it come a and b, for every service that it is for"
            ],
        ),
        (
            [
                """{name: a, when: degraded, steps: [restart]}""",
                """{name: b, when: failed, steps: [restart]}""",
                """{name: c, match: ['tier="web"'], steps: [restart]}""",
            ],
            [
                "rules.yml:7:12: warning: runbook c is never chosen: before it come a and b, for every service that it is for"
            ],
        ),
        # A health, a service or an alert is left for it.
        (["{name: a, when: degraded, steps: [restart]}", "{name: c, steps: [restart]}"], []),
        (["""{name: a, match: ['tier="web"'], steps: [restart]}""", "{name: c, steps: [restart]}"], []),
        (["""{name: a, match: ['alertname!="X"'], steps: [restart]}""", "{name: c, steps: [restart]}"], []),
        # It believes alerts that the earlier one does not.
        (
            [
                """{name: a, match: ['tier=~"web|db"'], steps: [restart]}""",
                """{name: c, match: ['alertname="X"'], corroborate: false, steps: [restart]}""",
            ],
            [],
        ),
        (
            [
                """{name: a, match: ['tier=~"web|db"'], when: failed, corroborate: false, steps: [restart]}""",
                """{name: c, when: failed, match: ['alertname="X"'], steps: [restart]}""",
            ],
            [],
        ),
    ],
)
def test_shadowed_runbooks(capsys: pytest.CaptureFixture[str], runbooks: list[str], found: list[str]) -> None:
    said = checked(capsys, TWO + "".join(f"  - {runbook}\n" for runbook in runbooks))
    assert [line for line in said.splitlines() if ": warning:" in line] == [
        f"{one} [shadowed-runbook]" for one in found
    ]


# Labels.

OWNED = """\
services:
  - {{name: web{match}}}
thresholds:
  - {{name: errors, expr: '{expr}', failed: '> 1'}}
"""


@pytest.mark.parametrize(
    ("expr", "match", "message"),
    [
        ("sum(errors)", "", "the labels that they keep are none"),
        ("sum by (pod, code) (errors)", "", "the labels that they keep are code, pod"),
        ("sum without (service) (errors)", "", "the labels that they lose are service"),
        ("sum by (service) (errors)", """, match: ['job="web"']""", "the labels that they keep are service"),
        ("sum by (service) (errors)", "", ""),
        ("sum by (job) (errors)", """, match: ['job="web"', 'env!="test"']""", ""),
        ("errors", "", ""),
        ("sum by (service", "", ""),  # promtool speaks of that
    ],
)
def test_expressions_that_lose_whose_they_are(
    capsys: pytest.CaptureFixture[str], expr: str, match: str, message: str
) -> None:
    Path("rules.yml").write_text(OWNED.format(expr=expr, match=match))
    main(["check", "rules.yml"])
    said = capsys.readouterr().out
    assert ("[no-service-label]" in said) == bool(message)
    assert message in said


def test_a_templated_service_needs_the_labels_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "services: [{{name: '{{{{ labels.ns }}}}/{{{{ labels.app }}}}', match: ['ns!=\"\"']}}]\n"
        + OWNED[OWNED.index("thr") :]
    )
    assert warnings(checked(capsys, text.format(expr="sum by (ns) (x)"))) == ["no-service-label"]
    assert warnings(checked(capsys, text.format(expr="sum by (ns, app) (x)"))) == []


NEEDING = """\
services:
  - {{name: web, labels: {{tier: web}}{service}}}
  - {{name: db, labels: {{tier: db, pod: p}}}}
thresholds: [{threshold}]
runbooks:
  - name: heal
    match: ['tier="web"'{match}]
    steps:
      - run: [kill, '{use}']
"""
JUDGED = "{name: errors, expr: errors, failed: '> 1'}"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "rules.yml:9:25: warning: service web may have no label pod"),
        ({"threshold": JUDGED}, "rules.yml:9:25: warning: service web may have no label pod"),
        ({"use": 'a-{{ labels["pod"] }}'}, "rules.yml:9:27: warning: service web may have no label pod"),
        # What says that it is there: the service, a matcher of the runbook, or of the service if no threshold judges it.
        ({"service": "", "match": """, 'pod!=""'"""}, ""),
        ({"service": "", "match": """, 'pod=~".+"'"""}, ""),
        ({"match": """, 'pod!="x"'"""}, "may have no label pod"),
        ({"service": """, match: ['pod="p"']"""}, ""),
        ({"service": """, match: ['pod="p"']""", "threshold": JUDGED}, "may have no label pod"),
        ({"service": """, match: ['pod="p"']""", "threshold": JUDGED, "match": """, 'alertname="Down"'"""}, ""),
        ({"use": "{{ labels.alertname }}{{ labels.service }}{{ labels.tier }}", "threshold": JUDGED}, ""),
        # What does without.
        ({"use": '{{ labels.pod | default("all") }}'}, ""),
        ({"use": "{% if labels.pod is defined %}{{ labels.pod }}{% endif %}"}, ""),
        ({"use": "{% if labels.pod %}x{% endif %}"}, "may have no label pod"),
    ],
)
def test_labels_that_nothing_guarantees(capsys: pytest.CaptureFixture[str], given: dict[str, str], found: str) -> None:
    values = {"service": "", "threshold": "", "match": "", "use": "{{ labels.pod }}", **given}
    said = checked(capsys, NEEDING.format(**values))
    assert warnings(said) == (["missing-label"] if found else [])
    assert found in said


def test_labels_that_a_target_and_a_guard_need(capsys: pytest.CaptureFixture[str]) -> None:
    text = """\
services:
  - {name: web, target: {systemd: {host: '{{ labels.instance }}'}}}
  - {name: '{{ labels.pod }}', match: ['pod!=""'], target: {systemd: {host: '{{ labels.pod }}'}}}
thresholds: [{name: errors, expr: errors, failed: '> 1'}]
runbooks:
  - name: heal
    match: ['service="web"']
    steps:
      - restart:
        unless: up == bool 0 or guard(node_under_pressure)
"""
    said = checked(capsys, text)
    assert [line for line in said.splitlines() if ": warning:" in line] == [
        f"rules.yml:{place}: warning: service web may have no label {label}, without which the step cannot be run: no"
        " matcher guarantees it [missing-label]"
        for place, label in (("2:46", "instance"), ("10:33", "node"))
    ]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("{{ labels.a }}{{ labels['b'] | lower }}", {"a", "b"}),
        ("{{ labels.a | lower | default('x') }}", set()),
        ("{{ labels.a if labels.b else labels.c }}", {"b"}),
        ("{{ labels.a or labels.b }}", {"a"}),
        ("labels.a {{ service.labels.b }}", set()),
    ],
)
def test_which_labels_a_template_needs(text: str, needed: set[str]) -> None:
    assert needed_labels(text, TemplateKind.TEXT) == needed


CONDITION = """\
services: [{{name: web, target: systemd}}]
thresholds: [{{name: errors, expr: errors, failed: '> 1'}}]
runbooks:
  - name: heal
    steps:
      - restart:
        {condition}
"""


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("unless: deploying > 5", "rules.yml:7:27: warning: unless: is empty when it is false, as > leaves no series"),
        ("if: 'load{a=\"{{ labels.service }}\"} < 5'", "rules.yml:7:45: warning: if: is empty when it is false, as <"),
        ("if: absent(up > 5)", "rules.yml:7:23: warning: if: is true also while the series that it asks about"),
        ("unless: deploying > bool 5", ""),
        ("unless: deploying", ""),
        ("unless: guard(recent_deploy) or absent(guard(recent_deploy))  # remediator: allow missing-label", ""),
        ("unless: deploying > 5  # remediator: allow empty-condition", ""),
        ("{unless: deploying > 5, guard_empty: false}", ""),
    ],
)
def test_a_condition_that_is_empty_when_it_is_false(
    capsys: pytest.CaptureFixture[str], condition: str, found: str
) -> None:
    text = CONDITION.format(condition=condition)
    if condition.startswith("{"):
        text = text.replace(condition, condition.strip("{}").replace(", ", "\n        "))
    said = checked(capsys, text)
    assert found in said
    assert warnings(said) == (["empty-condition"] if found else [])


# Times and rates.


@pytest.mark.parametrize(
    ("duration", "interval", "warns"),
    [("3s", None, True), ("5s", None, False), ("0s", None, False), ("10s", "15s", True), ("3s", "0s", False)],
)
def test_for_is_compared_with_the_interval_of_the_config_or_the_default(
    capsys: pytest.CaptureFixture[str], duration: str, interval: str | None, warns: bool
) -> None:
    flags = []
    if interval is not None:
        Path("remediator.yml").write_text(
            f"prometheus: {{url: 'http://localhost:9090'}}\nglobal: {{evaluation_interval: {interval}}}\n"
        )
        flags = ["--config.file=remediator.yml"]
    said = checked(capsys, f"thresholds: [{{name: up, expr: up, failed: '< 1', for: {duration}}}]\n", *flags)
    assert warnings(said) == (["short-for"] if warns else [])
    if warns:
        assert f"for {duration} is shorter than evaluation_interval {interval or '5s'}: " in said


LOOKING = """\
services:
  - {{name: web, labels: {{tier: web}}, target: systemd}}
  - {{name: db, labels: {{tier: db}}, target: systemd}}
thresholds:
  - {{name: short, expr: 'rate(x[1m])', failed: '> 1', match: ['tier="web"']}}
  - {{name: long, expr: 'rate(x[10m])', failed: '> 1', match: ['tier="{tier}"']}}
  - {{name: lowest, expr: 'max_over_time(up[1d])', failed: '{failed}'}}
runbooks:
  - name: heal
    match: [{match}]
    steps: [restart]
    verify: {{healthy_for: 10s, within: {within}}}
    limits: {{cooldown: 1h}}
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "within 2m is shorter than the 10m that threshold long looks back"),
        ({"within": "10m"}, ""),
        ({"tier": "db"}, ""),
        ({"tier": "db", "match": ""}, "the 10m that threshold long looks back"),
        ({"tier": "db", "within": "30s"}, "within 30s is shorter than the 1m that threshold short looks back"),
        ({"failed": "> 1"}, "within 2m is shorter than the 1d that threshold lowest looks back"),
    ],
)
def test_within_is_compared_with_how_far_thresholds_of_the_same_services_look_back(
    capsys: pytest.CaptureFixture[str], given: dict[str, str], message: str
) -> None:
    said = checked(
        capsys, LOOKING.format(**{"tier": "web", "match": 'tier="web"', "failed": "< 1", "within": "2m", **given})
    )
    assert warnings(said) == (["short-within"] if message else [])
    assert message in said


RATED = """\
services:
  - {{name: web, labels: {{tier: web}}, target: systemd}}
  - {{name: db, labels: {{tier: db}}, target: systemd}}
runbooks:
  - name: heal
    match: ['tier="web"']
    steps: [{steps}]
    verify: {{healthy_for: 10s, within: 1m}}
    limits: {{cooldown: {cooldown}, rate: {rate}}}
"""


@pytest.mark.parametrize(
    ("steps", "cooldown", "rate", "column", "message"),
    [
        (
            "restart",
            "30m",
            "[1/1h, 5/1h]",
            42,
            "rate 5/1h limits nothing: with a cooldown of 30m its 1 service takes at most 4 commands in 1h",
        ),
        ("restart", "30m", "5/1h", 35, "takes at most 4 commands in 1h"),
        ("restart", "30m", "4/1h", 0, ""),
        ("restart, {restart: {}, attempts: 2}", "30m", "12/1h", 0, ""),
        ("restart, {restart: {}, attempts: 2}", "30m", "13/1h", 35, "takes at most 12 commands"),
    ],
)
def test_rates_that_the_cooldown_does_not_come_up_to(
    capsys: pytest.CaptureFixture[str], steps: str, cooldown: str, rate: str, column: int, message: str
) -> None:
    said = checked(capsys, RATED.format(steps=steps, cooldown=cooldown, rate=rate))
    assert warnings(said) == (["idle-rate"] if message else [])
    assert message in said
    assert not message or f"rules.yml:9:{column}:" in said


# Steps.

STEPS = """\
services:
  - {{name: web, target: {target}}}
runbooks:
  - name: heal
    steps: {steps}
    verify: {{healthy_for: 10s, within: 1m}}
targets:
  - name: own
    actions:
      restart: [deploy, --wait, web]
      slow: {{run: [deploy, --wait, web], timeout: 5m}}
      rollback: [own-rollback]
"""


@pytest.mark.parametrize(
    ("target", "steps", "found"),
    [
        ("kubernetes", "[{scale: {by: 1}}]", {"unbounded-scale": "rules.yml:5:26"}),
        ("kubernetes", "[{scale: {by: 1, max: 3}}, {scale: {by: -1}}, {scale: {to: 3}}]", {}),
        ("kubernetes", "[rollback, restart, rollback]", {"repeated-rollback": "rules.yml:5:32"}),
        ("kubernetes", "[{rollback: {}, attempts: 2}]", {"repeated-rollback": "rules.yml:5:14"}),
        ("kubernetes", "[rollback]", {}),
        ("own", "[rollback, rollback]", {}),
        ("own", "[restart]", {"default-timeout": "rules.yml:5:13"}),
        ("own", "[{restart: {}, timeout: 3m}, slow]", {}),
        ("own", "[{run: [kubectl, rollout, status, x]}]", {"default-timeout": "rules.yml:5:14"}),
        ("own", "[{shell: 'sleep 90; true'}]", {"default-timeout": "rules.yml:5:14"}),
        ("own", "[{shell: 'sleep 5; true'}, {run: [helm, test, --wait, --timeout=30s]}, {run: ['true']}]", {}),
        ("own", "[{run: [kubectl, delete, pod, --wait=false]}, {run: [deploy, --no-wait]}]", {}),
        ("{command: {restart: [sleep, '90']}}", "[restart]", {"default-timeout": "rules.yml:5:13"}),
        ("own", "[{run: [helm, test, --wait, --timeout=5m]}]", {"default-timeout": "rules.yml:5:14"}),
    ],
)
def test_steps(capsys: pytest.CaptureFixture[str], target: str, steps: str, found: dict[str, str]) -> None:
    said = checked(capsys, STEPS.format(target=target, steps=steps))
    assert warnings(said) == list(found)
    for place in found.values():
        assert f"{place}: warning: " in said


# In place, and in the table.


def test_where_and_how_a_filter_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    text = of_rules().replace("expr: errors,", "expr: 'sum by (service) (errors) > 0.1',")
    said = checked(capsys, text)
    assert (
        "rules.yml:5:53: warning: threshold errors has no series of a service that is well, as > 0.1 drops them: its health"
        " is never seen, and no heal can be seen to help [filtered-threshold]"
    ) in said
    assert "write > bool 0.1" in said
    assert warnings(checked(capsys, text.replace("(errors) > 0.1", "(errors) > bool 0.1"))) == []
    counted = of_rules().replace("expr: errors,", "expr: 'count by (service) (up == 0)',")
    assert "write sum(… == bool 0), which is 0 when all is well" in checked(capsys, counted)
    gone = of_rules().replace("expr: errors,", "expr: absent(up),")
    assert "ask for what is there when all is well, as with up{…} and failed: '< 1'" in checked(capsys, gone)


@pytest.mark.parametrize(
    "comment",
    [
        "  # remediator: allow short-cooldown",
        " # it is quick; remediator: allow no-such\n",
        "  # it is quick; remediator: allow short-cooldown",
        "   # remediator: allow matches-no-service, short-cooldown",
    ],
)
def test_an_author_may_mean_it(capsys: pytest.CaptureFixture[str], comment: str) -> None:
    said = checked(capsys, of_rules(cooldown="30s", comment=comment))
    assert ("short-cooldown]" in said) == ("no-such" in comment)


def test_a_comment_above_allows_too_and_allows_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    text = of_rules(cooldown="30s")
    said = checked(capsys, text.replace("    limits:", "    # remediator: allow short-cooldown\n    limits:"))
    assert warnings(said) == []
    Path("rules.yml").write_text(text.replace("    limits:", "    # remediator: allow unknown-key\n    limit:"))
    assert main(["check", "rules.yml"]) == 1


def test_a_comment_further_above_allows_the_next_line_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    allowed = "    # remediator: allow short-cooldown\n    # since it is quick\n    limits:"
    text = of_rules(cooldown="30s")
    assert warnings(checked(capsys, text.replace("    limits:", allowed))) == []
    too_early = allowed.replace("    limits:", "    mode: auto\n    limits:")
    assert warnings(checked(capsys, text.replace("    limits:", too_early))) == ["short-cooldown"]


def test_an_allowance_that_changes_nothing_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    said = checked(capsys, of_rules(comment="  # remediator: allow short-cooldwn"))
    assert (
        "rules.yml:11:49: warning: there is no warning short-cooldwn that could be allowed [unknown-allowance]" in said
    )
    assert "    did you mean short-cooldown?\n" in said
    assert warnings(checked(capsys, of_rules(comment="  # remediator: allow short_cooldown"))) == ["unknown-allowance"]
    assert warnings(checked(capsys, of_rules(comment="  # remediator: allow no-such, unknown-allowance"))) == []
    said = checked(capsys, of_rules(comment="  # remediator: allow short-for, runbook-never-chosen"))
    assert "rules.yml:11:60: warning: runbook-never-chosen is an error, and cannot be allowed [allowed-error]" in said


def test_prose_behind_an_allowance_is_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    comment = "  # remediator: allow short-cooldown, short-for as it is quick - and cheap, really"
    assert warnings(checked(capsys, of_rules(cooldown="30s", comment=comment))) == []


def test_every_warning_may_be_allowed(capsys: pytest.CaptureFixture[str], in_folder: Path) -> None:
    rules = "services:\n  - {name: web, depends_on: [postgres]}"
    assert warnings(checked(capsys, rules)) == ["unknown-dependency"]
    assert warnings(checked(capsys, rules + "  # remediator: allow unknown-dependency")) == []
    config = (
        "prometheus: {url: 'http://localhost:9090'}\nrule_files: ['*.none.yml']  # remediator: allow empty-pattern\n"
    )
    (in_folder / "remediator.yml").write_text(config)
    assert main(["check", "remediator.yml"]) == 0
    assert "warning" not in capsys.readouterr().out


SHIPPED = sorted([*(ROOT / "examples/rules").glob("*.yml"), ROOT / "remediator/cli/demo/files/rules.yml"])


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.parent.name)
def test_rules_that_come_along_are_meant(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_every_lint_is_documented() -> None:
    text = (ROOT / "rules/README.md").read_text()
    section = text[text.index("## What `remediator check` warns of") :]
    assert set(LINTS) <= set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE))
    assert [lint.__name__.replace("_", "-") for lint in LINTS.values()] == list(LINTS)
    assert all(lint.__doc__ for lint in LINTS.values())
