"""By which routes an alert goes, and how long each waits."""

from __future__ import annotations

import pytest

from remediator.engine.alertmanager_routes import group_wait, read_routes

TREE = """
route:
  receiver: root
  group_wait: 40s
  routes:
    - receiver: heal
      group_wait: 0s
      matchers: ['sender!="remediator"']
      continue: true
    - receiver: web
      match: {tier: web}
      routes:
        - {receiver: heal, match_re: {team: 'a|b'}, group_wait: 2m}
        - {receiver: web-night, matchers: '{night="yes", team=~"c.*"}', group_wait: 3m}
    - receiver: all
      group_wait: 1m
"""


@pytest.mark.parametrize(
    ("labels", "routes"),
    [
        ({}, ["heal", "all"]),
        ({"sender": "remediator"}, ["all"]),
        ({"tier": "web"}, ["heal", "web"]),
        ({"tier": "web", "team": "a"}, ["heal", "heal"]),
        ({"tier": "web", "team": "ab"}, ["heal", "web"]),
        ({"tier": "web", "team": "cat", "night": "yes"}, ["heal", "web-night"]),
    ],
)
def test_an_alert_goes_by_these_routes(labels: dict[str, str], routes: list[str]) -> None:
    assert [route.receiver for route in read_routes(TREE).of(labels)] == routes


@pytest.mark.parametrize(
    ("labels", "receivers", "seconds"),
    [
        ({}, {"heal"}, 0.0),
        ({"tier": "web", "team": "a"}, {"heal"}, 120.0),
        ({"tier": "web"}, {"heal"}, 0.0),
        ({"tier": "web"}, {"web"}, 40.0),
        ({}, set(), 60.0),
        ({"sender": "remediator"}, {"heal"}, 60.0),
    ],
)
def test_the_wait_of_an_alert(labels: dict[str, str], receivers: set[str], seconds: float) -> None:
    assert group_wait(read_routes(TREE), labels, receivers) == seconds


def test_a_root_alone_has_the_default() -> None:
    assert group_wait(read_routes("route: {receiver: a}"), {}, {"a"}) == 30.0


@pytest.mark.parametrize(
    "config",
    [
        "{}",
        "[",
        "route: 1",
        "route: {receiver: a, group_wait: soon}",
        "route: {receiver: a, routes: {receiver: b}}",
        "route: {receiver: a, routes: [b]}",
        "route: {receiver: a, routes: [{match: [b]}]}",
        "route: {receiver: a, routes: [{match_re: {b: '('}}]}",
        "route: {receiver: a, routes: [{matchers: ['b']}]}",
    ],
)
def test_what_is_not_understood_is_an_error(config: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_routes(config)
