"""`remediator backtest` on a real Prometheus that has hours of history, as its user calls it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from real.prometheus import RealPrometheus, free_port
from web.conftest import CHROMIUM, FLAGS

from remediator.cli import main
from remediator.simulation.backtest.data import retention
from remediator.simulation.backtest.data.history import ALERTS

END = int(time.time()) // 3600 * 3600 - 3600
HOURS = 8
START = END - HOURS * 3600
HOSTILE = "<script>document.title='owned'</script>"

RULES = """
services:
  - {name: checkout, target: {command: {restart: [ctl, restart, checkout], rollback: [ctl, rollback, checkout]}}}
  - {name: search, target: {command: {restart: [ctl, restart, search], rollback: [ctl, rollback, search]}}}
  - {name: "<script>document.title='owned'</script>", target: {command: {restart: ['true'], rollback: ['true']}}}
thresholds:
  - name: error_ratio
    expr: |
      sum by (service) (rate(http_errors_total[1m])) / sum by (service) (rate(http_requests_total[1m]))
    degraded: '>= 0.05'
    failed: '> 0.10'
    for: 30s
    unit: ratio
runbooks:
  - name: web
    mode: approve
    steps: [restart, {rollback: , unless: 'busy{service="{{ service.name }}"} == 1', guard_empty: false}]
    verify: {healthy_for: 30s, within: 2m}
"""


def open_metrics() -> str:
    """Requests of two services, of which one fails for half an hour; a metric for the guard; an alert of search and one of
    nobody."""
    series: dict[str, list[str]] = {"http_errors_total": [], "http_requests_total": [], "busy": [], "ALERTS": []}
    for service in ("checkout", "search", HOSTILE):
        errors = 0
        for index, at in enumerate(range(START, END, 15)):
            failing = service == "checkout" and 7200 <= index * 15 < 9000
            errors += 30 if failing else 0
            series["http_errors_total"].append(f'http_errors_total{{service="{service}"}} {errors} {at}')
            series["http_requests_total"].append(f'http_requests_total{{service="{service}"}} {index * 100} {at}')
    for at in range(START, END, 15):
        series["busy"].append(f'busy{{service="checkout"}} {int(at - START < 7800)} {at}')
        if 20_000 <= at - START <= 20_600:
            labels = 'alertname="SearchDown",alertstate="firing",service="search",severity="critical"'
            series["ALERTS"].append(f"ALERTS{{{labels}}} 1 {at}")
        if at - START < 3600:
            labels = f'alertname="DiskFull",alertstate="firing",instance="{"x" * 90}",severity="warning"'
            series["ALERTS"].append(f"ALERTS{{{labels}}} 1 {at}")
    kinds = {"http_errors_total": "counter", "http_requests_total": "counter"}
    lines = []
    for name, samples in series.items():
        lines += [f"# TYPE {name.removesuffix('_total')} {kinds.get(name, 'gauge')}", *samples]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    with RealPrometheus(tmp_path_factory.mktemp("prometheus"), history=open_metrics()) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "ahead.yml").write_text("thresholds: [{name: tomorrow, expr: busy @ end(), failed: '> 1'}]")
    (tmp_path / "patient.yml").write_text(RULES.replace("    for: 30s", "    for: 1h"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def backtest(prometheus: RealPrometheus, *words: str) -> int:
    span = ["--from", str(START), "--to", str(END)]
    return main(["backtest", "--prometheus", prometheus.url, "--rules", "rules.yml", *span, *words])


@pytest.mark.usefixtures("folder")
def test_what_would_have_been_run(prometheus: RealPrometheus, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(prometheus) == 0
    told = capsys.readouterr().out
    assert "(8h, every 15s), 3 services" in told
    assert "Played as if their mode were auto: web." in told
    assert "recorded  everything goes on as it was recorded" in told
    assert re.search(r"^checkout +(3\dm[\ds]*) +1 +\1 +0 +\d+ / 1 +", told, re.MULTILINE)
    incident = re.search(r"^\S+ \S+ +checkout +web +(.*?) {2,}(is failed.*?) {2,}(\w+)", told, re.MULTILINE)
    assert incident is not None
    assert incident[1] == "restart checkout; rollback checkout"
    assert incident[2].startswith("is failed: error_ratio ")
    # The alert is of a service whose threshold says that it is well.
    assert re.search(r"^alerts that led to nothing +2 +2$", told, re.MULTILINE)
    assert re.search(r"^  not corroborated +1 +1$", told, re.MULTILINE)
    # Of samples that were brought in, Prometheus believes the last for five minutes.
    nothing = told[told.index("Alerts that led to nothing:") :].splitlines()
    assert re.fullmatch(r'DiskFull +no service +1 +1h5m +instance="x{59}…', nothing[2])
    assert re.fullmatch(r'SearchDown +not corroborated +1 +15m +service="search", severity="critical"', nothing[3])


@pytest.mark.usefixtures("folder")
def test_for_programs_and_without_asking_again(prometheus: RealPrometheus, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(prometheus, "--output", "json", "--against", "patient.yml") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["from"], report["seen_from"], report["to"], report["step"]) == (START, START, END, 15)
    assert "A number a week that rests on 8h is little evidence." in report["caveats"]
    recorded, cured = report["readings"]["recorded"], report["readings"]["cured"]
    assert cured["actions"] == {"restart": 1}
    assert recorded["actions"]["rollback"] >= 1
    (checkout,) = [service for service in recorded["services"] if service["name"] == "checkout"]
    first = checkout["incidents"][0]
    assert first["since"] == pytest.approx(START + 7200 + 45, abs=30)
    # The guard was true until then.
    assert first["commands"][1]["at"] == pytest.approx(START + 7800, abs=30)
    assert {held["gate"] for held in checkout["held"]} >= {"guard"}
    (episode,) = checkout["episodes"]
    assert episode["until"] - episode["since"] == checkout["bad_seconds"] == checkout["longest_seconds"]
    assert (recorded["episodes"], recorded["cleared_by_itself"]) == (1, {"count": 0, "median_seconds": 0})
    (disk,) = [alert for alert in recorded["unheeded"] if alert["alert"] == "DiskFull"]
    assert (disk["reason"], disk["count"], disk["seconds"], disk["services"]) == ("no_service", 1, 3900, [])
    assert disk["labels"] == {"alertname": "DiskFull", "instance": "x" * 90, "severity": "warning"}
    assert [difference["service"] for difference in cured["differences"]] == ["checkout"]
    assert (cured["differences"][0]["before"], cured["differences"][0]["after"]) == (0, 1)
    before = cured["against"]
    assert (before["incidents"], before["commands"], before["episodes"]) == (0, 0, 0)
    assert set(before) == set(cured) - {"against", "differences", "services", "unheeded"}
    # What was answered is kept: a Prometheus that is gone is missed only for how many series there are.
    cache = Path("cache") / "remediator" / "backtest"
    files = set(cache.iterdir())
    for path in files:
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert backtest(prometheus, "--output", "json", "--against", "patient.yml") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == report
    assert set(cache.iterdir()) == files
    count, *rest = re.findall(
        r"(\d+) of (\d+) answers were kept from before, the oldest asked 2h.* ago; --ref", told.err
    )[0]
    assert len(files) <= int(count) <= int(rest[0])
    assert backtest(prometheus, "--output", "json", "--against", "patient.yml", "--refresh") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == report
    assert "kept from before" not in told.err
    assert all(path.stat().st_mtime > time.time() - 600 for path in files)


@pytest.mark.usefixtures("folder")
def test_the_totals_of_either_rules_side_by_side(
    prometheus: RealPrometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest(prometheus, "--against", "patient.yml") == 0
    told = capsys.readouterr().out
    assert re.search(r"^ +RECORDED, OTHERS +RECORDED +CURED, OTHERS +CURED$", told, re.MULTILINE)
    assert re.search(r"^incidents +0 +[1-9]\d* +0 +1$", told, re.MULTILINE)
    assert re.search(r"^  restart +0 +[1-9]\d* +0 +1$", told, re.MULTILINE)
    assert re.search(r"^held by guard +0s +[^ ]+ +0s +0s$", told, re.MULTILINE)


def test_stretches_are_as_long_as_conditions_let_them_be(
    prometheus: RealPrometheus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    stretch_for = retention.stretch_for
    monkeypatch.setattr(
        retention, "stretch_for", lambda p, exprs, *rest: asked.extend(exprs) or stretch_for(p, exprs, *rest)
    )
    (folder / "rules.yml").write_text(RULES.replace("'busy{service=\"{{ service.name }}\"} == 1'", "'busy > 0'"))
    assert backtest(prometheus, "--reading", "cured") == 0
    assert asked[1:] == [ALERTS, "busy > 0"]


@pytest.mark.usefixtures("folder")
def test_years_of_which_nothing_is_remembered_are_left_out(
    prometheus: RealPrometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    long_ago = f"{START - 40 * 365 * 86_400}"
    words = ["--prometheus", prometheus.url, "--rules", "rules.yml", "--from", long_ago, "--to", str(END)]
    assert main(["backtest", *words, "--output", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert START - 3600 <= report["from"] == report["seen_from"] <= START + 15
    (remark,) = [
        caveat for caveat in report["caveats"] if caveat.startswith("Prometheus remembers nothing of it before ")
    ]
    begins, asked = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%MZ}" for at in (report["from"], float(long_ago)))
    assert remark.endswith(f"before {begins}: the backtest begins there, not at {asked}.")
    (checkout,) = [s for s in report["readings"]["cured"]["services"] if s["name"] == "checkout"]
    assert checkout["restarts_a_week"] == pytest.approx(7 * 24 / HOURS, rel=0.01)
    # One for each of three stretches at most of the threshold, the alerts and a guard.
    assert len(list((Path("cache") / "remediator" / "backtest").iterdir())) < 10


def test_what_cannot_be_matched_is_unseen_and_said(
    prometheus: RealPrometheus, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = RULES.replace(
        "thresholds:", "thresholds:\n  - {name: mix, expr: busy * on () http_errors_total, failed: '> 9'}"
    )
    (folder / "rules.yml").write_text(rules)
    assert backtest(prometheus, "--reading", "cured") == 0
    told = capsys.readouterr().out
    assert "For 8h in all busy * on () http_errors_total was not answered in full, and is taken as unseen" in told
    assert "Prometheus says execution: found duplicate series" in told
    assert "restart checkout" in told


@pytest.mark.usefixtures("folder")
def test_modes_and_alerts_as_asked(prometheus: RealPrometheus, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(prometheus, "--as-written", "--reading", "cured", "--output", "json") == 0
    cured = json.loads(capsys.readouterr().out)["readings"]["cured"]
    assert (cured["commands"], cured["incidents"]) == (0, 1)
    assert "approval" in cured["held_seconds"]
    assert backtest(prometheus, "--no-alerts", "--reading", "cured", "--output", "json") == 0
    without = json.loads(capsys.readouterr().out)["readings"]["cured"]
    assert without["alerts_unheeded"] == {}
    assert cured["alerts_unheeded"] == {"no_service": 1, "not_corroborated": 1}
    assert backtest(prometheus, "--alerts", 'severity="page"', "--reading", "cured", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)["readings"]["cured"] == without


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from", "1h", "--to", "2h"], "cannot backtest: --from has to be a step (15s) or more before --to"),
        (
            ["--from", str(START), "--to", str(START + 10)],
            "cannot backtest: --from has to be a step (15s) or more before --to",
        ),
        (["--alerts", "severity"], "cannot read --alerts: "),
        (["--rules", "nowhere.yml"], "nowhere.yml"),
        (
            ["--rules", "rules.yml", "ahead.yml"],
            "cannot backtest threshold tomorrow: by @ end() it would see here what it did not see then: give rule files",
        ),
        (["--html", "no/such/folder/page.html"], "cannot write no/such/folder/page.html: No such file or directory"),
        (["--cache", "rules.yml"], "cannot use the folder rules.yml"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_done_is_said(
    prometheus: RealPrometheus, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert backtest(prometheus, *words) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_page_that_cannot_be_written_is_said_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    # Nobody is at that address.
    words = ["--prometheus", "http://127.0.0.1:9", "--rules", "rules.yml"]
    for page in ("no/such/page.html", "rules.yml/page.html", "."):
        assert main(["backtest", *words, "--html", page]) == 2
        assert f"cannot write {page}: " in capsys.readouterr().err


def test_a_page_stays_until_the_next_is_whole(
    prometheus: RealPrometheus, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "page.html").write_text("the one before")
    (folder / "page.html").chmod(0o640)
    (folder / "link.html").symlink_to("page.html")
    before = {path.name for path in folder.iterdir()} | {"cache"}
    assert backtest(prometheus, "--html", "link.html", "--against", "nowhere.yml") == 2
    assert (folder / "page.html").read_text() == "the one before"
    assert {path.name for path in folder.iterdir()} | {"cache"} == before
    assert backtest(prometheus, "--html", "link.html") == 0
    assert (folder / "page.html").read_text().startswith("<!doctype html>")
    assert (folder / "page.html").stat().st_mode & 0o777 == 0o640
    assert (folder / "link.html").is_symlink()
    assert {path.name for path in folder.iterdir()} == before
    assert "wrote link.html" in capsys.readouterr().err


def test_a_page_can_go_to_what_is_no_file(prometheus: RealPrometheus, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    reader = subprocess.Popen(["cat", str(folder / "pipe")], stdout=subprocess.PIPE)
    assert backtest(prometheus, "--html", "pipe") == 0
    page, _ = reader.communicate(timeout=240)
    assert page.rstrip().endswith(b"</html>")


@pytest.mark.parametrize("given", ["yesterday", "7", "2026-13-01"])
@pytest.mark.usefixtures("folder")
def test_a_time_that_is_none(capsys: pytest.CaptureFixture[str], given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backtest", "--from", given])
    assert ended.value.code == 2
    assert f"{given!r} is neither a duration such as 7d nor a time such as 2026-01-31" in capsys.readouterr().err


def test_a_prometheus_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["backtest", "--prometheus", url, "--rules", "rules.yml"]) == 2
    assert f"cannot reach Prometheus at {url}" in capsys.readouterr().err


def test_the_config_says_where_and_which(
    prometheus: RealPrometheus, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "remediator.yml").write_text(f"prometheus: {{url: '{prometheus.url}'}}\nrule_files: [rules.yml]\n")
    assert main(["backtest", "--from", str(START), "--to", str(END), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["readings"]["cured"]["commands"] == 1
    (folder / "remediator.yml").write_text(f"prometheus: {{url: '{prometheus.url}'}}\n")
    assert main(["backtest"]) == 2
    assert "cannot backtest: there are no rule files" in capsys.readouterr().err


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        path = CHROMIUM if Path(CHROMIUM).exists() else None
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        opened = await browser.new_page(viewport={"width": 1000, "height": 900})
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        yield opened
        assert [url for url in asked if not url.startswith("file:")] == []
        await browser.close()


async def test_the_page_needs_nothing_and_shows_either_reading(
    prometheus: RealPrometheus, folder: Path, page: Page
) -> None:
    words = ("--html", "page.html", "--against", "patient.yml")
    assert await asyncio.to_thread(backtest, prometheus, *words) == 0
    await page.goto((folder / "page.html").as_uri())
    recorded, cured = page.locator(".reading-recorded"), page.locator(".reading-cured")
    heads = page.locator("table").first.get_by_role("columnheader")
    assert [await heads.nth(place).inner_text() for place in range(await heads.count())] == [
        "",
        "recorded, others",
        "recorded",
        "cured, others",
        "cured",
    ]
    await expect(page.get_by_role("row", name="restart 0", exact=False).first).to_be_visible()
    await expect(recorded).to_be_visible()
    await expect(cured).not_to_be_visible()
    lane = recorded.locator(".lane", has_text="checkout").first
    assert await lane.locator("i.failed").count() >= 1
    commands = lane.locator("b")
    assert await commands.count() >= 2
    assert "ctl restart checkout" in (await commands.first.get_attribute("title") or "")
    # The trouble began a quarter into the eight hours.
    style = await lane.locator("i.failed").first.get_attribute("style") or ""
    assert float(re.findall(r"left: ([\d.]+)%", style)[0]) == pytest.approx(25, abs=0.5)
    await page.get_by_label("cured").check()
    await expect(cured).to_be_visible()
    await expect(recorded).not_to_be_visible()
    assert await cured.locator(".lane", has_text="checkout").first.locator("b").count() == 1
    await expect(cured.get_by_text("0 → 1")).to_be_visible()
    await expect(cured.get_by_text(HOSTILE)).to_be_visible()
    await expect(cured.get_by_role("row", name="DiskFull no service 1 1h5m")).to_be_visible()
    assert (await page.title()).startswith("Backtest")


async def test_the_page_fits_a_phone(prometheus: RealPrometheus, folder: Path, page: Page) -> None:
    words = ("--html", "page.html", "--against", "patient.yml")
    assert await asyncio.to_thread(backtest, prometheus, *words) == 0
    await page.set_viewport_size({"width": 400, "height": 800})
    await page.goto((folder / "page.html").as_uri())
    assert await page.evaluate("document.documentElement.scrollWidth") == 400
    # Words are left whole, and what is long is below its name.
    row = await page.get_by_role("row", name="times of trouble").bounding_box()
    track = await page.locator(".track").first.bounding_box()
    assert row is not None
    assert row["height"] < 60
    assert track is not None
    assert track["width"] > 300
