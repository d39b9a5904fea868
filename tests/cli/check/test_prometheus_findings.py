"""`remediator check --prometheus` against a real Prometheus."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from doubles.scripted import Scripted
from real.prometheus import Exposition, RealPrometheus, free_port, in_thread, until

from remediator.cli import main

METRICS = """\
up_to_now{service="checkout"} 1
up_to_now{service="search",pod="a"} 1
up_to_now{service="search",pod="b"} 0
orphans{pod="a"} 1
odd{service="search"} NaN
"""
RULES = r"""
services:
  - {name: checkout, labels: {tier: web}, target: {command: {restart: ['true']}}}
  - {name: search, labels: {tier: web}, target: {command: {restart: ['true']}}}
  - {name: ghost, labels: {tier: web}, target: {command: {restart: ['true']}}}
  - {name: silent}
thresholds:
  - {name: up, match: ['tier="web"'], expr: up_to_now, failed: '< 1'}
  - {name: gone, match: ['tier="web"'], expr: nowhere, failed: '> 1'}
  - {name: orphaned, expr: orphans, failed: '> 5'}
  - {name: odd, match: ['tier="web"'], expr: odd, degraded: '> 5'}
  - {name: unjudged, match: ['service="checkout"'], expr: up_to_now, failed: '> 5'}
runbooks:
  - name: web
    match: ['tier="web"']
    steps:
      - restart
      - restart:
        unless: up_to_now{service="{{ labels.service }}"} > bool 5
        if: absent(guard(node_under_pressure))  # remediator: allow missing-label
"""
SEEN = [
    ("up", "checkout", "1", "healthy"),
    ("up", "search", "0", "failed"),
    ("odd", "search", "nan", "unknown"),
    ("unjudged", "checkout", "1", "healthy"),
]
WRONG = r"""
thresholds:
  - name: first
    expr: |
      sum by (service) (
        rate(x[1m]
      )
    failed: '> 1'
  - {name: second, expr: 'up_to_now[1m]', failed: '> 1'}
  - {name: third, expr: 'up_to_now * on () group_right () up_to_now', failed: '> 1'}
runbooks:
  - name: web
    steps:
      - run: ['true']
        if: up_to_now{service="{{ labels.service }}"} >> 5
"""


async def check(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["check", *arguments])


async def test_what_prometheus_says_of_the_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yml").write_text(RULES)
    Path("wrong.yml").write_text(WRONG)
    with Exposition(METRICS) as exposition:
        async with RealPrometheus(tmp_path, targets=[exposition.address]) as prometheus:
            await until(in_thread(lambda: prometheus.query("orphans")))

            assert await check("--prometheus", prometheus.url, "rules.yml") == 0
            lines = capsys.readouterr().out.splitlines()
            assert [tuple(line.split()) for line in lines[: lines.index("")]] == [
                ("THRESHOLD", "SERVICE", "VALUE", "NOW", "MEANS"),
                *SEEN,
            ]
            told = [line for line in lines if line.startswith(("rules.yml", "SUCCESS"))]
            assert told == [
                "rules.yml:5:12: warning: no threshold sees service ghost now: no series of up, gone, orphaned, odd is its own"
                " [service-unseen]",
                "rules.yml:6:12: warning: no threshold sees service silent now: no series of orphaned is its own"
                " [service-unseen]",
                "rules.yml:9:47: warning: threshold gone sees no series now [no-series]",
                "rules.yml:10:28: warning: no series that threshold orphaned sees belongs to a service; the first has the"
                " labels: __name__, instance, job, pod [no-service-label]",
                "SUCCESS: 4 services, 5 thresholds, 1 runbook (4 warnings)",
            ]

            assert await check("--prometheus", prometheus.url, "--output=json", "rules.yml") == 0
            told = json.loads(capsys.readouterr().out)
            assert [tuple(str(cell) for cell in one.values()) for one in told["seen"]] == [
                (threshold, service, value if value == "nan" else f"{value}.0", means)
                for threshold, service, value, means in SEEN
            ]
            assert [problem["check"] for problem in told["problems"]] == [
                "service-unseen",
                "service-unseen",
                "no-series",
                "no-service-label",
            ]

            allowed = RULES.replace("  - {name: gone", "  # remediator: allow no-series\n  - {name: gone")
            Path("rules.yml").write_text(allowed)
            assert await check("--prometheus", prometheus.url, "rules.yml") == 0
            assert "[no-series]" not in capsys.readouterr().out

            assert await check("--prometheus", prometheus.url, "wrong.yml") == 1
            out = capsys.readouterr().out
            assert "wrong.yml:7:7: error: this is not PromQL: unclosed left parenthesis [bad-promql]" in out
            assert "wrong.yml:9:26: error: the expression gives a range of values (a matrix)" in out
            assert "wrong.yml:10:25: error: Prometheus says execution: " in out
            assert "wrong.yml:15:56: error: this is not PromQL: unexpected" in out
            assert "FAILED: 4 errors" in out


async def test_a_threshold_that_judges_none_of_the_services_it_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yml").write_text(
        """\
services:
  - {name: checkout, labels: {tier: web}}
  - {name: cache, labels: {tier: cache}}
thresholds:
  - {name: up, match: ['tier="web"'], expr: up_to_now, failed: '< 1'}
  - {name: full, match: ['tier="cache"'], expr: up_to_now, failed: '> 5'}
  - {name: gone, match: ['tier="cache"'], expr: nowhere, failed: '> 5'}
  - {name: broken, match: ['tier="cache"'], expr: 'up_to_now >> 5', failed: '> 5'}
"""
    )
    with Exposition(METRICS) as exposition:
        async with RealPrometheus(tmp_path, targets=[exposition.address]) as prometheus:
            await until(in_thread(lambda: prometheus.query("orphans")))
            assert await check("--prometheus", prometheus.url, "rules.yml") == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rules.yml")]
    assert told[0] == (
        "rules.yml:6:49: warning: none of the services whose series threshold full sees now is judged by it [no-series]"
    )
    # Of these it was said already why they see nothing.
    assert [line.rsplit(maxsplit=1)[1] for line in told[1:]] == ["[no-series]", "[bad-promql]"]


async def test_a_prometheus_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yml").write_text(RULES)
    assert await check("--prometheus", f"http://127.0.0.1:{free_port()}", "rules.yml") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "remediator: cannot reach Prometheus at http://127.0.0.1:" in shown.err


@pytest.mark.parametrize("output", ["text", "json", "github", "checkstyle"])
async def test_that_it_was_not_asked_because_of_errors_is_said(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # without promtool there is a note of that too
    Path("rules.yml").write_text(
        "thresholds: [{name: up, expr: up, failed: '< 1'}, {name: up, expr: up, failed: '< 1'}]\n"
    )
    assert await check("--prometheus", f"http://127.0.0.1:{free_port()}", f"--output={output}", "rules.yml") == 1
    shown = capsys.readouterr()
    note = "Prometheus was not asked, because of the errors: correct them, and check again"
    asked, promtool = shown.err.splitlines()
    assert asked == f"remediator: {note}"
    assert promtool.startswith("remediator: the PromQL was not checked: ")
    if output == "json":
        told = json.loads(shown.out)
        assert told["note"].startswith(f"{note}; the PromQL was not checked: ")
        assert told["failure"] == ""


async def test_severities_of_its_rules_that_nothing_is_done_for_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yml").write_text("services: [{name: checkout}]\n")
    rules = [
        {"alert": name, "expr": "vector(1)", "labels": {"severity": severity}}
        for name, severity in (("A", "high"), ("B", "High"), ("C", "Critical"), ("D", "info"), ("E", "sev3"))
    ]
    async with RealPrometheus(tmp_path, rules=rules) as prometheus:
        await check("--prometheus", prometheus.url, "rules.yml")
        sentence = (
            "remediator: nothing is done for alerts of these severities, which severity: in the config does not name:"
            " high (2 rules), sev3 (1 rule)\n"
        )
        assert sentence in capsys.readouterr().err
        Path("remediator.yml").write_text(
            f"prometheus: {{url: '{prometheus.url}'}}\nseverity: {{high: failed, SEV3: healthy}}\n"
        )
        await check("--prometheus", prometheus.url, "--config", "remediator.yml", "rules.yml")
        assert "nothing is done" not in capsys.readouterr().err


async def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    assert await check("--prometheus", "localhost", str(path)) == 2
    assert "localhost" in capsys.readouterr().err


def test_what_the_server_says_beside_the_series_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yml").write_text(
        """\
services: [{name: shop}, {name: cart}]
thresholds:
  - {name: partial, expr: 'partial', failed: '> 5'}
  - {name: remarked, expr: 'rate(remarked[5m])', failed: '> 5'}
  - {name: histograms, expr: 'histograms', failed: '> 5'}
runbooks:
  - name: web
    steps: [{run: ['true'], unless: 'partial'}]
"""
    )
    shop = {"metric": {"service": "shop"}, "value": [1.5, "9"]}
    cart = {"metric": {"service": "cart"}, "histogram": [1.5, {"count": "1", "sum": "1"}]}

    def script(request: Any) -> None:
        beside = {
            "partial": {"isPartial": True},
            "rate(remarked[5m])": {"infos": ['PromQL info: metric might not be a counter: "remarked" (1:6)']},
        }
        result = [shop, cart] if request.form["query"] == "histograms" else [shop]
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        request.answer({**body, **beside.get(request.form["query"], {})})

    with Scripted(script) as server:
        assert main(["check", "--prometheus", server.url, "rules.yml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("rules.yml")]
    partial = "the answer may lack data: the server says that its answer is partial (isPartial) [partial-answer]"
    assert told == [
        f"rules.yml:3:27: warning: {partial}",
        'rules.yml:4:34: warning: PromQL info: metric might not be a counter: "remarked" (1:6) [promql-remark]',
        'rules.yml:5:30: warning: 1 of 2 series are native histograms, the first is {service="cart"} [native-histogram]',
        f"rules.yml:8:37: warning: {partial}",
    ]
    assert "while that is so, serve takes its services for unknown" in "\n".join(lines)
    assert "while that is so, serve takes the condition for unknown" in "\n".join(lines)
    assert not any(line.split()[:2] == ["partial", "shop"] for line in lines)
