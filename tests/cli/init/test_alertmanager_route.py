"""The route to remediator takes alerts from nobody: as amtool says of it, and by Alertmanager's rule of matching."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from real.prometheus import part

from remediator.cli.init.alertmanager_route import ROUTE_SNIPPET, Receiver, complete_route, find_receiver
from remediator.model.matcher import parse_matcher

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())

HIGH_ERROR_RATE = ("alertname=HighErrorRate", "service=checkout", "severity=critical")
INSTANCE_DOWN = ("alertname=InstanceDown", "job=node", "instance=db-1:9100", "severity=page")
ORDINARY = [HIGH_ERROR_RATE, INSTANCE_DOWN, ("alertname=Watchdog",)]
ABOUT_REMEDIATOR = [
    ("alertname=RemediatorDown", "job=remediator", "severity=critical"),
    ("alertname=RemediatorHealExhausted", "job=remediator", "service=checkout", "severity=critical"),
    ("alertname=RemediationFailed", "sender=remediator", "service=checkout", "severity=page"),
    ("alertname=RemediationApprovalNeeded", "sender=remediator", "service=checkout"),
]

PEOPLE = """\
route:
  receiver: team
  group_by: [alertname]
  group_wait: 45s
  routes:
    - matchers: ['severity="page"']
      receiver: pager
    - match: {service: checkout}
      receiver: shop
      continue: true
    - matchers: ['job=~"node|remediator"']
      receiver: systems
      routes:
        - match_re: {instance: 'db-.*'}
          receiver: databases
          mute_time_intervals: [nights]
receivers:
  - name: team
  - name: pager
  - name: shop
  - name: systems
  - name: databases
time_intervals:
  - name: nights
    time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}]}]
"""


def receivers_of(config: Path, labels: tuple[str, ...]) -> list[str]:
    """Whom amtool says that an alert is sent to."""
    amtool = part("amtool", "prometheus-alertmanager")
    command = [amtool, "config", "routes", "test", f"--config.file={config}", *labels]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].split(",")


def joined(config: str) -> str:
    """The configuration as its owner would have it after init: its route replaced, and the receiver added."""
    old, new = yaml.safe_load(config), yaml.safe_load(complete_route(config))
    return yaml.safe_dump({**old, "route": new["route"], "receivers": old["receivers"] + new.get("receivers", [])})


def test_the_snippet_is_one() -> None:
    assert f"```yaml\n{ROUTE_SNIPPET}```" in (ROOT / "README.md").read_text()
    assert ROUTE_SNIPPET in (ROOT / "examples/alertmanager.yml").read_text()
    assert find_receiver(ROUTE_SNIPPET) == Receiver("remediator", True)


@pytest.mark.parametrize("labels", ORDINARY + ABOUT_REMEDIATOR, ids=lambda labels: labels[0])
def test_the_snippet_reaches_people_and_remediator(labels: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(ROUTE_SNIPPET)
    assert receivers_of(config, labels) == (["team"] if labels in ABOUT_REMEDIATOR else ["remediator", "team"])


@pytest.mark.parametrize("labels", ORDINARY + ABOUT_REMEDIATOR, ids=lambda labels: labels[0])
def test_the_complete_route_changes_nobodys_receivers(labels: tuple[str, ...], tmp_path: Path) -> None:
    before, after = tmp_path / "before.yml", tmp_path / "after.yml"
    before.write_text(PEOPLE)
    after.write_text(joined(PEOPLE))
    added = [] if labels in ABOUT_REMEDIATOR else ["remediator"]
    assert receivers_of(after, labels) == added + receivers_of(before, labels)


def test_what_routes_say_besides_receivers_stays() -> None:
    old, new = yaml.safe_load(PEOPLE)["route"], yaml.safe_load(complete_route(PEOPLE))["route"]
    assert new["routes"][1] == {"receiver": "team", "routes": old["routes"]}
    assert {key: value for key, value in new.items() if key != "routes"} == {
        key: value for key, value in old.items() if key != "routes"
    }


def test_a_receiver_that_is_there_gets_the_route_and_one_of_its_name_is_left_alone() -> None:
    there = "route: {receiver: a}\nreceivers: [{name: a}, {name: r, webhook_configs: [{url: 'http://h:9797/webhook'}]}]"
    assert yaml.safe_load(complete_route(there))["route"]["routes"][0]["receiver"] == "r"
    assert "receivers" not in yaml.safe_load(complete_route(there))
    taken = "route: {receiver: remediator}\nreceivers: [{name: remediator, email_configs: [{to: a@example.org}]}]"
    added = yaml.safe_load(complete_route(taken))
    assert [one["name"] for one in added["receivers"]] == ["remediator-2"]
    assert added["route"]["receiver"] == "remediator"


GREEDY = """\
route:
  receiver: team
  group_by: [alertname]
  routes:
    - matchers: ['sender="remediator"']
      receiver: team
    - receiver: remediator
      group_wait: 5s
      continue: true
    - matchers: ['severity="page"']
      receiver: pager
receivers:
  - name: team
  - name: pager
  - name: remediator
    webhook_configs: [{url: 'http://127.0.0.1:9797/webhook'}]
"""


@pytest.mark.parametrize(
    ("labels", "before", "after"),
    [
        (HIGH_ERROR_RATE, ["remediator"], ["remediator", "team"]),
        (INSTANCE_DOWN, ["remediator", "pager"], ["remediator", "pager"]),
        (ABOUT_REMEDIATOR[0], ["remediator"], ["team"]),
        (ABOUT_REMEDIATOR[2], ["team"], ["team"]),
    ],
    ids=lambda value: value[0],
)
def test_a_route_that_takes_from_people_gives_back(
    labels: tuple[str, ...], before: list[str], after: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(GREEDY)
    assert receivers_of(config, labels) == before
    config.write_text(joined(GREEDY))
    assert receivers_of(config, labels) == after
    assert complete_route(joined(GREEDY)) == ""
    assert yaml.safe_load(complete_route(GREEDY))["route"]["routes"][0]["group_wait"] == "5s"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[",
        "route: 3",
        "route: {}",
        "route: {receiver: remediator}\nreceivers: [{name: remediator, webhook_configs: [{}]}]",
        "a: &a {b: [*a]}\nroute: {receiver: x, routes: [*a]}",
        "a: &a [1,1,1,1,1,1,1,1]\nb: &b {k: [*a,*a,*a,*a,*a,*a]}\nc: &c {k: [*b,*b,*b,*b,*b,*b,*b]}\n"
        "d: &d {k: [*c,*c,*c,*c,*c,*c,*c,*c]}\ne: &e {k: [*d,*d,*d,*d,*d,*d,*d]}\nroute: {receiver: x, routes: [*e,*e]}",
        "route: {receiver: x, routes: " + "[" * 5000 + "]" * 5000 + "}",
    ],
    ids=["empty", "broken", "no mapping", "no receiver", "routed", "recursive", "bomb", "deep"],
)
def test_nothing_is_made_of_what_is_no_route(config: str) -> None:
    assert complete_route(config) == ""


VALUES = st.sampled_from(["", "a", "b"])
LABELS = st.fixed_dictionaries({"x": VALUES, "y": VALUES, "sender": st.sampled_from(["", "remediator"])})


def routes(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    matchers = st.sampled_from(['x="a"', 'x!="a"', 'y=~"a|b"', 'y!~"a"', 'sender="remediator"'])
    keys: dict[str, st.SearchStrategy[Any]] = {
        "receiver": st.sampled_from(["r1", "r2", "r3"]),
        "matchers": st.lists(matchers, max_size=2),
        "continue": st.booleans(),
    }
    if depth:
        keys["routes"] = st.lists(routes(depth - 1), max_size=3)
    return st.fixed_dictionaries({}, optional=keys)


def reached(route: dict[str, Any], labels: dict[str, str], inherited: str = "") -> list[str]:
    """Alertmanager's rule (dispatch/route.go, Route.Match)."""
    if not all(parse_matcher(matcher).matches(labels) for matcher in route.get("matchers", ())):
        return []
    receiver, found = route.get("receiver", inherited), []
    for child in route.get("routes", ()):
        matched = reached(child, labels, receiver)
        found += matched
        if matched and not child.get("continue"):
            break
    return found or [receiver]


@settings(deadline=None)
@given(st.lists(routes(2), max_size=4), LABELS)
def test_whatever_routes_there_are_receivers_stay(children: list[dict[str, Any]], labels: dict[str, str]) -> None:
    old = {"receiver": "r0", "routes": children}
    new = yaml.safe_load(complete_route(yaml.safe_dump({"route": old, "receivers": [{"name": "r0"}]})))["route"]
    added = [] if labels["sender"] else ["remediator"]
    assert reached(new, labels) == added + reached(old, labels)
