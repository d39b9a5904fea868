"""What a report makes of a replay: how long gates held, which alerts led to nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simulation.backtest.remembered import DAY, START, Remembered, troubled
from simulation.backtest.test_replay import RULES, found, rules, shop

from remediator.cli.backtest.text_report import show_report
from remediator.config.policy import Policy
from remediator.model.health import Health
from remediator.model.incident import Disposition
from remediator.rules.loader import load_rules
from remediator.simulation.backtest.analysis.episodes import Episode, either, median, unwell
from remediator.simulation.backtest.analysis.findings import Findings, ServiceFindings, findings
from remediator.simulation.backtest.replay import ReplayReading, replay
from remediator.simulation.backtest.report import Report


def of(outcome: Findings, name: str) -> ServiceFindings:
    (service,) = [service for service in outcome.services if service.name == name]
    return service


def held(outcome: Findings, name: str) -> list[tuple[str, int, int]]:
    """By which gates a service was held, and from when to when, in seconds since START."""
    return [(one.gate, round(one.since - START), round(one.until - START)) for one in of(outcome, name).held]


def test_a_hold_of_alerts_ends_with_the_last_of_them(tmp_path: Path) -> None:
    remembered = Remembered()
    # No threshold judges the cart: given up at once, and then held by the cooldown until nothing fires any more.
    book = rules(tmp_path, RULES.replace("cooldown: 5m", "cooldown: 6h"))
    remembered.fired(7200, 9000, alertname="CartDown", service="cart", severity="critical")
    remembered.fired(8400, 9600, alertname="CartSlow", service="cart", severity="warning")
    remembered.fired(12_000, 12_600, alertname="CartDown", service="cart", severity="critical")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, book)
    (first, second) = held(outcome, "cart")
    assert first == ("cooldown", pytest.approx(7450, abs=60), 9600)
    assert second == ("cooldown", 12_000, 12_600)
    assert outcome.gates == {"cooldown": 9600 - first[1] + 600}


def test_a_hold_of_thresholds_ends_with_their_alert(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled((7200, 9000)), service="checkout")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, RULES.replace("5m", "6h")))
    (only,) = held(outcome, "checkout")
    # `keep_for` is 45 s.
    assert (only[0], only[2]) == ("cooldown", pytest.approx(9045, abs=15))


def test_a_hold_of_an_incident_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    watching, _ = load_rules([tmp_path / "rules.yml"], service_label="service")
    remembered = Remembered()
    remembered.fired(7200, 9000, alertname="CartDown", service="cart", severity="critical")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, watching)
    (trouble,) = outcome.troubles
    ((gate, since, until),) = held(outcome, "cart")
    assert (gate, since, until) == ("observe", 7200, pytest.approx(9000, abs=30))
    assert trouble.until is not None
    assert until <= trouble.until - START


def test_what_still_holds_holds_to_the_end(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.fired(80_000, 90_000, alertname="CartDown", service="cart", severity="critical")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, RULES.replace("5m", "6h")))
    assert held(outcome, "cart")[-1][2] == 86_400


def test_alerts_that_thresholds_contradict_are_counted(tmp_path: Path) -> None:
    remembered = shop()
    for since in (20_010, 30_000):
        remembered.fired(since, since + 600, alertname="SearchSlow", service="search", severity="warning")
    # Thresholds see this one later than it fires, and its end before.
    remembered.fired(7200, 9600, alertname="CheckoutDown", service="checkout", severity="critical")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED)
    (only,) = outcome.unhandled_alerts
    assert (only.alert, only.reason) == ("SearchSlow", Disposition.NOT_CORROBORATED)
    assert (only.count, only.seconds, only.services) == (2, pytest.approx(1200, abs=30), ("search",))
    assert outcome.led_to_nothing == {Disposition.NOT_CORROBORATED: 2}
    assert "not_corroborated" not in outcome.gates


def test_a_held_alert_is_not_one_that_led_to_nothing(tmp_path: Path) -> None:
    remembered = shop()
    remembered.fired(9200, 9800, alertname="CheckoutDown", service="checkout", severity="critical")
    remembered.series["error_ratio"][0] = ({"service": "checkout"}, troubled((7200, 9000), (9150, 9700)))
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, RULES.replace("5m", "6h")))
    assert "cooldown" in outcome.gates
    assert outcome.unhandled_alerts == ()


def test_alerts_that_the_rules_do_not_cover_are_told(tmp_path: Path) -> None:
    remembered = shop()
    for since in (3600, 40_000, 60_000):
        remembered.fired(since, since + 300, alertname="DiskFull", instance=f"db-{since}", severity="warning")
    remembered.fired(80_000, 90_000, alertname="CartSlow", service="cart", severity="warning")
    only_failed = RULES.replace("mode: observe", "mode: observe\n    when: [failed]")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, only_failed))
    disk, cart = outcome.unhandled_alerts
    assert (disk.alert, disk.reason, disk.count, disk.seconds) == ("DiskFull", Disposition.NO_SERVICE, 3, 900)
    assert disk.labels["instance"] == "db-3600"
    # It fires on.
    assert (cart.alert, cart.reason, cart.seconds) == ("CartSlow", Disposition.NO_RUNBOOK, pytest.approx(6400, abs=15))


def test_breaches_that_no_runbook_takes_are_told(tmp_path: Path) -> None:
    remembered = shop()
    remembered.series["error_ratio"][0] = ({"service": "checkout"}, troubled((7200, 9000), bad=0.07))
    # The end of this alert comes after that of the breach: for a while it is not corroborated.
    remembered.fired(7300, 9500, alertname="CheckoutSlow", service="checkout", severity="critical")
    only_failed = RULES.replace("mode: observe", "mode: observe\n    when: [failed]")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, only_failed))
    assert [(one.alert, one.reason) for one in outcome.unhandled_alerts] == [
        ("CheckoutSlow", Disposition.NO_RUNBOOK),
        ("error_ratio", Disposition.NO_RUNBOOK),
    ]


def test_trouble_ends_where_it_is_seen_to() -> None:
    bad, failed, blind, well = Health.DEGRADED, Health.FAILED, Health.UNKNOWN, Health.HEALTHY
    # What cannot be seen is neither counted nor the end of it.
    seen = [
        (0.0, blind),
        (10.0, bad),
        (20.0, failed),
        (30.0, blind),
        (40.0, bad),
        (50.0, well),
        (60.0, bad),
        (70.0, blind),
    ]
    assert unwell(seen, 100.0) == [Episode(10.0, 50.0, 30.0), Episode(60.0, None, 10.0)]
    assert unwell(seen[:3], 100.0) == [Episode(10.0, None, 90.0)]
    assert unwell([], 100.0) == []


def test_either_account_of_trouble_counts_once() -> None:
    one, other = [Episode(0.0, 10.0, 10.0), Episode(50.0, None, 50.0)], [Episode(5.0, 20.0, 15.0)]
    assert either(one, other, 100.0) == [Episode(0.0, 20.0, 20.0), Episode(50.0, None, 50.0)]
    assert median([*one, *other]) == 15.0
    assert median([]) == 0.0


def test_trouble_that_cleared_by_itself_is_told_from_what_was_healed(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled((7200, 9000), (30_000, 31_000), (50_000, 52_000)), service="checkout")
    remembered.has("error_ratio", troubled((30_000, 31_000), (50_000, 52_000), (86_000, 90_000)), service="search")
    checkout = of(found(remembered, tmp_path, ReplayReading.RECORDED), "checkout")
    assert [round(one.since - START) for one in checkout.episodes] == [7230, 30_030, 50_040]
    assert checkout.cleared == ()
    # Search waits for checkout, and its last trouble has no end.
    search = of(found(remembered, tmp_path, ReplayReading.RECORDED), "search")
    assert len(search.episodes) == 3
    assert search.episodes[2].until is None
    assert search.cleared == search.episodes[:2]
    assert median(search.cleared) == pytest.approx(1500 + 45 - 30, abs=15)


def test_where_only_alerts_judge_they_tell_how_long_it_was_bad(tmp_path: Path) -> None:
    remembered = shop()
    remembered.fired(7200, 9000, alertname="CartDown", service="cart", severity="critical")
    remembered.fired(8400, 9600, alertname="CartSlow", service="cart", severity="warning")
    remembered.fired(40_000, 40_300, alertname="CartSlow", service="cart", severity="info")
    remembered.fired(60_000, 61_000, alertname="SearchSlow", service="search", severity="warning")
    only_failed = RULES.replace("mode: observe", "mode: observe\n    when: [failed]")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, only_failed))
    cart = of(outcome, "cart")
    assert [(one.since - START, one.seconds) for one in cart.episodes] == [(7200, 2400), (40_005, 300)]
    assert (cart.bad, cart.longest, len(cart.cleared)) == (2700, 2400, 1)
    # Thresholds see this one well.
    assert of(outcome, "search").episodes == ()
    assert outcome.episodes == len(of(outcome, "checkout").episodes) + 2


def test_alerts_that_a_runbook_believes_tell_it_too(tmp_path: Path) -> None:
    remembered = shop()
    remembered.fired(60_000, 61_005, alertname="SearchSlow", service="search", severity="warning")
    believing = RULES.replace("mode: observe", "mode: observe\n    corroborate: false")
    search = of(found(remembered, tmp_path, ReplayReading.RECORDED, rules(tmp_path, believing)), "search")
    assert search.troubles
    assert [one.seconds for one in search.episodes] == [1005]


def test_numbers_a_week_are_over_the_time_that_is_remembered(tmp_path: Path) -> None:
    remembered = shop()
    history = remembered.history(tmp_path)
    book = rules(tmp_path)
    left = replay(book, Policy(), history, ReplayReading.CURED)
    asked = (ReplayReading.CURED, history.end - 3 * DAY, history.end, history.step, book.named)
    whole, half = findings(left, *asked), findings(left, *asked, seen_from=history.end - DAY / 2)
    assert (whole.a_week(3), half.a_week(3)) == (7, 42)
    # What lies before the time that was asked for does not count.
    assert findings(left, *asked, seen_from=0.0) == whole
    little = "A number a week that rests on 12h is little evidence."
    assert little in Report({ReplayReading.CURED: half}, {}).caveats
    assert not any("little evidence" in caveat for caveat in Report({ReplayReading.CURED: whole}, {}).caveats)


def test_a_table_is_bounded_and_its_commands_are_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remembered = shop()
    for number in range(45):
        remembered.fired(3600, 3900 + 15 * number, alertname=f"Nobodys{number}")
    long = f"{{run: [ctl, restart, checkout], title: 'restart {'c' * 200}'}}"
    book = rules(tmp_path, RULES.replace("[ctl, restart, checkout]", long))
    outcome = found(remembered, tmp_path, ReplayReading.CURED, book)
    show_report(Report({ReplayReading.CURED: outcome}, {}))
    told = capsys.readouterr().out
    assert re.search(r"  restart c{50,70}…  is failed", told)
    assert re.search(r"^Nobodys44 +no service +1 +16m$", told, re.MULTILINE)
    assert "Nobodys4 " not in told
    assert told.endswith("… and 5 more, which --output json and --html have\n")
