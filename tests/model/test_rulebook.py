"""Which service owns what labels that come from outside, hostile ones too."""

from __future__ import annotations

import pytest

from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service

HOSTS = Rulebook([Service("{{ labels.instance | host }}", {}, (parse_matcher('instance!=""'),))])


@pytest.mark.parametrize("instance", ["unix:///run/x.sock", "a b", "mongodb://a:27017,b:27017", "x" * 5000])
def test_what_no_service_can_be_named_by_is_nobodys_and_why(instance: str) -> None:
    labels = {"instance": instance}
    assert HOSTS.service_for(labels) is None
    assert HOSTS.refusal_for(labels).startswith("cannot name its service: ")


def test_labels_that_are_owned_or_of_no_interest_are_not_refused() -> None:
    service = HOSTS.service_for({"instance": "web1:9100"})
    assert service is not None
    assert service.name == "web1"
    assert HOSTS.refusal_for({"instance": "web1:9100"}) == ""
    assert HOSTS.service_for({"job": "x"}) is None
    assert HOSTS.refusal_for({"job": "x"}) == ""
