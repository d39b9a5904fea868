"""`remediator test`: what goes in, what is compared, and what a failure says."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.cli import main
from remediator.errors import ConfigError, RemoteError
from remediator.simulation.patterns import fits
from remediator.simulation.ruletest.loader import load_tests, selector
from remediator.simulation.ruletest.promtool_values import evaluate
from remediator.simulation.ruletest.runner import play as play_test

EXAMPLES = Path(__file__).parents[3] / "examples/rules/tests"

RULES = """
services:
  - name: checkout
    labels: {namespace: shop, deployment: checkout}
    target: {command: {restart: [ctl, restart, checkout, '[all]'], rollback: ctl rollback checkout}}
thresholds:
  - {name: errors, expr: error_ratio, degraded: '>= 0.05', failed: '> 0.10'}
  - {name: other, expr: other, match: ['tier="db"'], failed: '> 1'}
runbooks:
  - name: web
    steps:
      - restart:
        unless: 'guard(recent_deploy)'
      - rollback:
        unless: 'deploying{service="{{ service.name }}"} > bool 0'
      - name: hook
        http: {url: 'http://hooks/{{ service.name }}'}
    verify: {healthy_for: 10s, within: 30s}
"""

HEAD = """
rule_files: [rules.yml]
interval: 30s
global: {settle: 0s}
tests:
"""

HEALED = """
  - name: healed
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    commands: [{call: 'ctl restart *', then: [{threshold: errors, service: checkout, values: '0'}]}]
    expect:
      - {at: 29s, health: healthy, held: none, verdict: none, ran: []}
      - {at: 32s, health: recovering, decision: '*', verdict: open, ran: ['ctl restart checkout *']}
      - at: 2m
        health: healthy
        verdict: recovered
        ran: []
        annotation: {text: '*restart*', tags: ['service:checkout']}
        metrics: {'remediator_heals_total{verdict="recovered"}': 1, remediator_incidents_open: 0}
        pages: []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yml").write_text(RULES)
    return tmp_path


def play(folder: Path, text: str, capsys: pytest.CaptureFixture[str], *more: str, head: str = HEAD) -> tuple[int, str]:
    """The exit code of the command on a test file with this text, and what it said."""
    file = folder / "test.yml"
    file.write_text(head + text)
    capsys.readouterr()
    code = main(["test", str(file), *more])
    said = capsys.readouterr()
    return code, (said.out + said.err).replace(str(folder), "")


def test_what_is_as_expected_succeeds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(folder, HEALED, capsys)
    assert code == 0, said
    assert said.startswith("SUCCESS: 1 test, 0.0 simulated hours in ")


def test_every_failure_shows_both_sides_and_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = """
  - name: wrong
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    commands: [{call: 'ctl restart *', exit_code: 3}]
    expect:
      - at: 1m40s
        health: degraded
        held: paused
        decision: does nothing
        verdict: cleared
        annotation: {text: nothing, tags: [x]}
      - at: 1m40s
        ran: [ctl restart checkout, 'sh -c *']
        metrics: {'remediator_heals_total{verdict="recovered"}': 2}
        pages: [RemediationFailed, Other]
"""
    code, said = play(folder, wrong, capsys)
    assert code == 1
    assert "/test.yml:12:17: error: wrong: at 1m40s health of checkout is not as expected [health]" in said
    assert "            health: degraded\n                    ^\n    expected  degraded\n    found     failed\n" in said
    assert "health    failed: errors 0.2 > 0.1 for 1m" in said
    assert "story of checkout\n      30s      incident opened: is failed: errors 0.2 > 0.1 (failed)" in said
    assert "      30s      step started: runs restart (ctl restart checkout '[all]')" in said
    assert said.count("story of checkout") == 1
    assert "expected  paused" in said
    assert "expected  does nothing\n    found     " in said
    assert "expected  cleared\n    found     exhausted" in said
    assert "    - nothing\n    -     x\n    + " in said
    assert "    - ctl restart checkout\n" in said
    assert "+ ctl restart checkout '[all]'" in said
    assert 'found     remediator_heals_total{verdict="recovered"} 0' in said
    assert "FAILED: 1 of 1 test, " in said


def test_exact_arguments_shell_text_and_requests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(
        folder,
        """
  - name: all steps
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    commands: [{call: 'POST *', exit_code: 503}]
    expect:
      - at: 5m
        verdict: exhausted
        ran: [[ctl, restart, checkout, '[all]'], ctl rollback checkout, 'POST http://hooks/checkout']
        metrics: {'remediator_steps_total{action="hook", outcome="failed"}': 1}
        pages: RemediationFailed
""",
        capsys,
    )
    assert code == 0, said


def test_commands_are_used_up_one_after_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(
        folder,
        """
  - name: hangs first
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    commands:
      - {call: 'ctl r*', hangs: true, times: 1}
      - {call: 'ctl r*', takes: 7s, output: done, then: [{threshold: errors, service: checkout, values: '0'}]}
    expect:
      - {at: 1m29s, decision: restart is running}
      - {at: 2m6s, decision: rollback is running}
      - {at: 3m, verdict: recovered}
""",
        capsys,
    )
    assert code == 0, said


def test_guards_go_by_the_text_of_the_rule_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(
        folder,
        """
  - name: guards
    values:
      - {threshold: errors, service: checkout, values: '0 0.2'}
      - {expr: guard(recent_deploy), values: '1x3 0'}
      - {expr: 'deploying{service="{{ service.name }}"} > bool 0', labels: {service: checkout}, values: '1x5 0'}
    expect:
      - {at: 1m50s, held: guard, decision: 'restart waits while guard(recent_deploy)', ran: []}
      - {at: 2m20s, held: none, ran: [ctl restart *]}
      - {at: 2m50s, held: guard, decision: 'rollback waits while deploying{service="checkout"} > bool 0', ran: []}
      - {at: 3m20s, ran: [ctl rollback checkout]}
""",
        capsys,
    )
    assert code == 0, said


def test_people_act_and_things_break(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rules.yml").write_text(RULES.replace("steps:", "mode: approve\n    steps:", 1))
    code, said = play(
        folder,
        """
  - name: people
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    alerts: [{alertname: HighErrors, service: checkout, fires: 35s, resolves: 10m, annotations: {summary: bad}}]
    commands: [{call: 'ctl restart *', takes: 20s}]
    acts:
      - {at: 40s, do: pause, match: ['service=~"c.*"'], for: 1h, author: alex, comment: looking}
      - {at: 60s, do: resume}
      - {at: 80s, do: approve, author: sam}
      - {at: 90s, do: crash}
      - {at: 2m, do: start}
      - {at: 3m, do: dismiss, author: sam, comment: enough}
      - {at: 4m, do: heal, force: true, comment: please}
    expect:
      - {at: 35s, held: approval, pages: RemediationApprovalNeeded}
      - {at: 50s, held: paused, decision: 'paused by alex for another *: looking'}
      - {at: 70s, held: approval}
      - {at: 81s, held: none, ran: [ctl restart *], decision: restart is running}
      - {at: 2m20s, ran: [], verdict: open}
      - {at: 3m1s, verdict: dismissed}
      - {at: 4m1s, verdict: open, ran: [ctl rollback *, ctl restart *]}
""",
        capsys,
    )
    assert code == 0, said


def test_what_cannot_be_done_is_a_failure_at_its_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(
        folder,
        """
  - name: cannot
    values: [{threshold: errors, service: checkout, values: '0'}]
    acts:
      - {at: 10s, do: approve}
      - {at: 20s, do: resume}
      - {at: 30s, do: start}
      - {at: 40s, do: crash}
      - {at: 50s, do: heal}
    expect:
      - {at: 60s, health: unknown, ran: []}
      - {at: 70s, pages: []}
""",
        capsys,
    )
    assert code == 1
    assert "/test.yml:10:9: error: cannot: at 10s cannot approve: checkout has no open incident [acts]" in said
    assert "at 20s cannot resume: nothing is paused" in said
    assert "at 30s cannot start remediator: it runs" in said
    assert "at 50s cannot do that: remediator is down" in said
    assert "/test.yml:17:9: error: cannot: at 1m10s cannot do that: remediator is down [expect]" in said
    assert said.count("error: ") == 5


def test_an_unreachable_prometheus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(
        folder,
        """
  - name: blind
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    acts: [{at: 20s, do: prometheus_down}, {at: 20m, do: prometheus_up}]
    expect:
      - {at: 10m, health: unknown, ran: [], pages: RemediationBlocked}
      - {at: 21m, ran: [ctl restart *, ctl rollback checkout], pages: []}
""",
        capsys,
    )
    assert code == 0, said


def test_silences_and_maintenance_windows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    windows = """
maintenance:
  - name: nightly
    match: ['service="checkout"']
    time_intervals: [{times: [{start_time: '22:00', end_time: '23:00'}]}]
tests:
"""
    code, said = play(
        folder,
        """
  - name: people are at it
    starts: 2024-02-29T22:50:00Z
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    acts:
      - {at: 5m, do: silence, match: ['alertname="errors"'], for: 1h, author: alex}
      - {at: 20m, do: expire}
    expect:
      - {at: 2m, held: maintenance, decision: 'maintenance window nightly is open*', ran: []}
      - {at: 11m, held: silenced, decision: 'silenced by alex for another *', ran: []}
      - {at: 21m, held: none, ran: ['ctl restart *', '*'], verdict: open}
""",
        capsys,
        head=HEAD.replace("tests:\n", "") + windows.lstrip(),
    )
    assert code == 0, said


def test_judged_only_when_an_alert_arrives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(
        folder,
        """
  - name: no rounds
    values: [{threshold: errors, service: checkout, values: '0 0.2'}]
    alerts: [{alertname: HighErrors, service: checkout, fires: 2m}]
    commands: [{call: 'ctl restart *', then: [{threshold: errors, service: checkout, values: '0'}]}]
    expect:
      - {at: 119s, ran: []}
      - {at: 3m, ran: ['ctl restart *'], verdict: recovered}
""",
        capsys,
        head=HEAD.replace("settle: 0s", "settle: 0s, evaluation_interval: 0s"),
    )
    assert code == 0, said


def test_only_those_whose_name_fits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = HEALED + HEALED.replace("name: healed", "name: other").replace("verdict: recovered", "verdict: cleared")
    assert play(folder, text, capsys, "--run", "^heal")[0] == 0
    assert play(folder, text, capsys, "--run", "th")[0] == 1
    code, said = play(folder, text, capsys, "--run", "nothing")
    assert code == 2
    assert said == "remediator: cannot test anything: there is no test whose name fits nothing\n"
    with pytest.raises(SystemExit) as ended:
        play(folder, text, capsys, "--run", "(")
    assert ended.value.code == 2


def test_junit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = HEALED + HEALED.replace("name: healed", "name: <other>").replace("verdict: recovered", "verdict: cleared")
    assert play(folder, text, capsys, "--junit", str(folder / "out.xml"))[0] == 1
    (suite,) = ET.parse(folder / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite
    assert (first.get("name"), len(first)) == ("healed", 0)
    (failure,) = second
    assert second.get("name") == "<other>"
    assert failure.get("type") == "verdict"
    assert "expected  cleared" in (failure.text or "")
    code, said = play(folder, HEALED, capsys, "--junit", str(folder / "no/such/folder.xml"))
    assert code == 2
    assert "cannot write /no/such/folder.xml: No such file or directory" in said


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("  - {name: a}", "6:5", "the key 'expect' is missing here"),
        ("  - {name: a, expect: [{at: 1s}], vals: 1}", "6:35", "unknown key 'vals'"),
        ("  - {name: a, expect: [{at: soon}]}", "6:29", "'soon' is not a duration"),
        ("  - {name: a, expect: [{at: 1s, held: pause}]}", "6:39", "there is no gate pause"),
        ("  - {name: a, expect: [{at: 1s, verdict: fixed}]}", "6:42", "'fixed' is none of recovered,"),
        ("  - {name: a, expect: [{at: 1s, service: web, health: failed}]}", "6:42", "there is no service web"),
        ("  - {name: a, expect: [{at: 1s, service: web, ran: []}]}", "6:42", "there is no service web"),
        ("  - {name: a, expect: [{at: 1s, metrics: {'a{b=1}': 1}}]}", "6:53", 'something other than label="value"'),
        (
            "  - {name: a, expect: [], values: [{threshold: error, service: checkout, values: '1'}]}",
            "6:48",
            "there is no threshold error ",
        ),
        ("  - {name: a, expect: [], values: [{expr: up, values: '1'}]}", "6:43", "the rule files do not ask this"),
        ("  - {name: a, expect: [], values: [{threshold: errors, values: '1'}]}", "6:36", "belongs to no service"),
        (
            "  - {name: a, expect: [], values: [{threshold: other, service: checkout, values: '1'}]}",
            "6:48",
            "threshold other does not judge checkout",
        ),
        ("  - {name: a, expect: [], starts: noon}", "6:35", "'noon' is not a time such as 2024-02-29T22:00:00Z"),
        ("  - {name: a, expect: [], values: [{values: '1'}]}", "6:36", "values are of either a threshold or an expr"),
        (
            "  - {name: a, expect: [], values: [{threshold: errors, service: checkout, values: '1 1 20%'}]}",
            "6:88",
            "'20%' is not a number: write it as a ratio, such as 0.2",
        ),
        (
            "  - {name: a, expect: [], commands: [{call: x, then: [{threshold: errors, service: checkout, values: '1x'}]}]}",
            "6:103",
            "'1x' is none of",
        ),
        ("  - {name: a, expect: [], promql: {series: [{series: up, values: 'x'}]}}", "6:67", "'x' is none of"),
        ("  - {name: a, expect: [], acts: [{at: 1s, do: panic}]}", "6:47", "'panic' is none of pause,"),
    ],
)
def test_errors_in_the_file_have_a_place(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, place: str, message: str
) -> None:
    code, said = play(folder, text + "\n", capsys)
    assert code == 2
    assert f"/test.yml:{place}: error: " in said
    assert message in said


def test_several_services_have_to_be_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rules.yml").write_text(
        RULES.replace("services:", "services:\n  - {name: search, target: {command: {restart: [a], rollback: [b]}}}")
    )
    code, said = play(folder, "  - {name: a, expect: [{at: 1s, health: failed}], acts: [{at: 1s, do: heal}]}", capsys)
    assert code == 2
    assert said.count("this is about one service, and the rule files have not just one [which-service]") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("rule_files: [none.yml]\ntests: []", "there is no rule file none.yml"),
        ("rule_files: []\ntests: []", "there are no rule files to test"),
        ("rule_files: bad.yml\ntests: []", "unknown key 'servces'"),
    ],
)
def test_files_that_cannot_be_used(folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    (folder / "bad.yml").write_text("servces: []\n")
    (folder / "test.yml").write_text(text)
    assert main(["test", str(folder / "test.yml"), str(folder / "missing.yml")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "missing.yml" in said


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_written_is_read_or_refused_with_a_place(folder: Path, data: st.DataObject) -> None:
    text = HEAD + HEALED
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(st.text("{}[]:,-'x0 \n", max_size=3)) + text[end:]
    file = folder / "test.yml"
    file.write_text(text)
    try:
        tests = load_tests(file)
    except ConfigError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert all(problem.position.line > 0 for problem in refused.problems)
        return
    for index, test in enumerate(tests.doc.tests):
        if max((expect.at for expect in test.expect), default=0) < 3600:
            play_test(tests, index)


def test_the_schema_is_of_test_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "tests"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == "remediator test file"
    assert {"RuleTestDoc", "ExpectDoc", "CommandDoc"} <= schema["$defs"].keys()


def test_selectors_and_patterns() -> None:
    assert selector('a_total{b="c", d="e\\"f,"}') == ("a_total", {"b": "c", "d": 'e"f,'})
    assert selector("a") == selector("a{}") == ("a", {})
    assert fits("a [b]? *", "a  [b]?\n c")
    assert not fits("a ?", "a b")


# The real PromQL engine.

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool, of the package prometheus"
)

PROMQL = """
  - name: promql
    promql:
      interval: 15s
      series: [{series: 'error_ratio{service="checkout", path="a b"}', values: '0x3 0.2'}]
    expect:
      - {at: 44s, health: healthy, ran: []}
      - {at: 61s, health: failed, decision: '*errors 0.2 > 0.1*'}
      - {at: 8m, health: unknown}
"""


@needs_promtool
def test_thresholds_are_evaluated_by_promtool(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(folder, PROMQL.replace("decision: '*errors 0.2 > 0.1*'", "verdict: open"), capsys)
    assert code == 0, said


@needs_promtool
def test_promtool_is_told_of_labels_in_any_script(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PROMQL.replace('path="a b"', 'path="ö \U0001f600"').replace(
        "decision: '*errors 0.2 > 0.1*'", "verdict: open"
    )
    code, said = play(folder, text, capsys)
    assert code == 0, said


@needs_promtool
def test_guards_are_evaluated_by_promtool(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deploying = """
        - {series: 'deploying{service="checkout"}', values: '1x70'}
        - {series: 'kube_replicaset_created{namespace="shop", replicaset="a"}', values: '0x70'}
        - series: 'kube_replicaset_owner{namespace="shop", replicaset="a", owner_kind="Deployment", owner_name="checkout"}'
          values: '1x70'
"""
    text = """
  - name: guarded
    promql:
      series:
        - {series: 'error_ratio{service="checkout"}', values: '0.2x120'}
"""
    expect = """
    expect:
      - {at: 5m, held: guard, decision: 'restart waits while guard(recent_deploy)', ran: []}
      - {at: 31m, held: guard, decision: 'rollback waits while deploying{service="checkout"} > bool 0', ran: ['ctl restart *']}
"""
    code, said = play(folder, text + deploying.lstrip("\n") + expect, capsys)
    assert code == 0, said
    code, said = play(folder, text + expect, capsys)
    assert code == 1
    assert "story of checkout\n      0s       incident opened" in said


@needs_promtool
def test_guards_of_services_that_series_and_alerts_name_are_evaluated_by_promtool(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = "{{ labels.namespace }}/{{ labels.app }}"
    rules = RULES.replace("name: checkout", f"name: '{named}'\n    match: ['app!=\"\"']", 1)
    rules = rules.replace("labels: {namespace: shop, deployment: checkout}", "labels: {deployment: '{{ labels.app }}'}")
    rules = rules.replace("expr: error_ratio,", "expr: error_ratio, match: ['app!=\"mail\"'],")
    (folder / "rules.yml").write_text(rules.replace("guard(recent_deploy)", 'busy{app="{{ labels.app }}"} > bool 0'))
    text = """
  - name: guarded
    promql:
      series:
        - {series: 'error_ratio{namespace="shop", app="web"}', values: '0.2x20'}
        - {series: 'error_ratio{namespace="shop", app="search"}', values: '0.2x20'}
        - {series: 'error_ratio{namespace="shop", app="cart"}', values: '0x20'}
        - {series: 'error_ratio{namespace="shop", app="reviews"}', values: '0x20'}
        - {series: 'error_ratio{namespace="shop", app="payments"}', values: '0x20'}
        - {series: 'busy{app="web"}', values: '1x20'}
        - {series: 'busy{app="search"}', values: '0x20'}
        - {series: 'busy{app="mail"}', values: '1x20'}
    alerts: [{alertname: MailDown, labels: {namespace: shop, app: mail, severity: critical}}]
    expect:
      - {at: 10s, service: shop/web, held: guard, ran: ['ctl restart *']}
      - {at: 10s, service: shop/search, held: none, decision: 'verifies restart*'}
      - {at: 10s, service: shop/mail, held: guard}
"""
    code, said = play(folder, text, capsys)
    assert code == 0, said


@needs_promtool
def test_what_promtool_answers() -> None:
    series = [('e{service="a \\"b\\"", code="500"}', "0+1x4 stale"), ("e", "_ 5 Inf")]
    answers = evaluate(["e", "rate(e[1m])\n  > 0", "vector(1)"], series, 60.0, 30.0, 300.0)
    one, other = (("__name__", "e"), ("code", "500"), ("service", 'a "b"')), (("__name__", "e"),)
    assert answers["e"][one] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, None]
    assert answers["e"][other][:5] == [None, None, 5, 5, float("inf")]
    assert answers["vector(1)"] == {(): [1.0] * 11}


@needs_promtool
def test_what_promtool_does_not_accept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(folder, PROMQL.replace("error_ratio{", "{{"), capsys)
    assert code == 2
    assert said.startswith("remediator: /test.yml:8:5: cannot evaluate promql: promtool says ")
    with pytest.raises(RemoteError, match="many-to-many matching not allowed"):
        evaluate(["e * on () e"], [('e{a="1"}', "1"), ('e{a="2"}', "1")], 60.0, 60.0, 60.0)


def test_without_promtool_it_says_what_to_install(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    code, said = play(folder, PROMQL, capsys)
    assert code == 2
    assert said == (
        "remediator: /test.yml:8:5: cannot evaluate promql:"
        " there is no promtool here: install the package prometheus, which has it\n"
    )


@needs_promtool
@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yml")), ids=lambda file: file.stem)
def test_the_examples_are_as_expected(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(file)]) == 0, capsys.readouterr().out


TEMPLATED = """
services:
  - {name: 'unit {{ labels.unit }}', match: ['unit!=""'], target: {command: {restart: [ctl, restart]}}}
thresholds:
  - {name: errors, expr: error_ratio, failed: '> 0.10'}
runbooks:
  - {name: web, steps: [restart]}
"""


def test_a_service_that_never_comes_into_being_is_a_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rules.yml").write_text(TEMPLATED)
    text = """
  - name: missed
    values: [{threshold: errors, labels: {unit: nginx}, values: '0x10'}]
    acts: [{at: 2s, do: pause, service: unit ngin, for: 1m}]
    expect:
      - {at: 1s, service: unit ngixn, health: unknown, verdict: none, held: none}
      - {at: 1s, service: unit ngixn, ran: []}
      - {at: 3s, service: unit nginx, held: none}
"""
    code, said = play(folder, text, capsys)
    assert code == 1
    sentence = "there is no service unit ngixn, and at no other time of this test [unknown-service]"
    assert f"/test.yml:11:27: error: missed: at 1s {sentence}" in said
    assert f"/test.yml:12:27: error: missed: at 1s {sentence}" in said
    assert "/test.yml:9:41: error: missed: at 2s there is no service unit ngin," in said
    assert said.count("did you mean unit nginx?") == said.count("error: ") == 3


def test_a_service_that_is_yet_to_come_may_be_expected_not_to_be_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rules.yml").write_text(TEMPLATED)
    text = """
  - name: yet to come
    values:
      - {threshold: errors, labels: {unit: late}, values: '_x3 0x10'}
      - {threshold: errors, labels: {unit: nginx}, values: '0.2'}
    commands: [{call: ctl restart, then: [{threshold: errors, labels: {unit: after}, values: '0'}]}]
    alerts: [{alertname: Down, fires: 2m, labels: {unit: alerted, severity: critical}}]
    expect:
      - {at: 0s, service: unit late, health: unknown, verdict: none}
      - {at: 0s, service: unit after, health: unknown}
      - {at: 0s, service: unit alerted, health: unknown}
      - {at: 3m, service: unit late, health: healthy}
"""
    code, said = play(folder, text, capsys)
    assert code == 0, said
