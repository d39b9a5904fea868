"""Bytes to a notification: every payload that was recorded, Grafana's, and every way to get it wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.errors import PayloadError
from remediator.model.alert import Notification, fingerprint, milliseconds, parse_time
from remediator.model.clock import rfc3339
from remediator.web.webhook_payload import MOST_ALERTS, MOST_LABELS, decode_notification

PAYLOADS = Path(__file__).parents[1] / "payloads"
RECORDED = sorted(PAYLOADS.glob("am-*/*.json"))
NOW = 1_800_000_000.0


def decode(document: Any) -> Notification:
    return decode_notification(json.dumps(document).encode(), NOW)


def payload(*alerts: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"version": "4", "alerts": list(alerts), **others}


def alert(**others: Any) -> dict[str, Any]:
    firing = {"status": "firing", "labels": {"alertname": "Down"}, "startsAt": "2026-11-23T21:30:02.914Z"}
    return {**firing, "endsAt": "0001-01-01T00:00:00Z", **others}


def reason(body: bytes) -> str:
    with pytest.raises(PayloadError) as refused:
        decode_notification(body, NOW)
    assert refused.value.status == 400
    return refused.value.reason


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recorded_payloads(path: Path) -> None:
    document = json.loads(path.read_bytes())
    notification = decode_notification(path.read_bytes(), NOW)
    assert notification.receiver == document["receiver"]
    assert notification.group_key == document["groupKey"]
    assert notification.truncated == document["truncatedAlerts"]
    assert len(notification.alerts) == len(document["alerts"])
    for given_alert, decoded in zip(document["alerts"], notification.alerts, strict=True):
        assert decoded.fingerprint == given_alert["fingerprint"] == fingerprint(decoded.labels)
        assert decoded.firing == (given_alert["status"] == "firing")
        assert decoded.labels == given_alert["labels"]
        assert decoded.annotations == given_alert["annotations"]


def test_both_versions_were_recorded() -> None:
    assert {path.parent.name for path in RECORDED} == {"am-0.25.0", "am-0.28.1"}
    assert len(RECORDED) > 100


def test_grafana() -> None:
    document = {
        "receiver": "remediator",
        "status": "firing",
        "orgId": 1,
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "High latency", "grafana_folder": "shop", "service": "api"},
                "annotations": {"summary": "slow"},
                "startsAt": "2026-11-23T23:30:10+02:00",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "https://grafana.example/alerting/grafana/x/view",
                "fingerprint": "57c6d9296de2ad39",
                "silenceURL": "https://grafana.example/alerting/silence/new",
                "dashboardURL": "",
                "panelURL": "",
                "values": {"B": 44.23943737541908, "C": 1},
                "valueString": "[ var='B' labels={} value=44.2 ]",
            }
        ],
        "groupLabels": {"alertname": "High latency"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "https://grafana.example/",
        "version": "1",
        "groupKey": '{}:{alertname="High latency"}',
        "truncatedAlerts": 0,
        "title": "[FIRING:1] High latency",
        "state": "alerting",
        "message": "**Firing**",
    }
    (decoded,) = decode(document).alerts
    assert decoded.firing
    assert decoded.starts_at == 1795469410.0  # 21:30:10 UTC
    assert decoded.fingerprint == "57c6d9296de2ad39"
    assert decoded.generator_url.startswith("https://grafana.example/")


def test_empty_labels_are_none_and_a_missing_fingerprint_is_made() -> None:
    (decoded,) = decode(payload(alert(labels={"alertname": "Down", "zone": ""}))).alerts
    assert decoded.labels == {"alertname": "Down"}
    assert decoded.fingerprint == fingerprint({"alertname": "Down"})


def test_the_status_decides() -> None:
    ended = "2026-11-23T22:00:00Z"
    cases = [
        ({"status": "firing", "endsAt": ended}, None),
        ({"status": "resolved", "endsAt": ended}, 1795471200.0),
        ({"status": "resolved"}, NOW),
        ({"status": "", "endsAt": ended}, 1795471200.0),
        ({"status": "", "endsAt": "2100-01-01T00:00:00Z"}, None),
        ({"status": ""}, None),
    ]
    for given_fields, end in cases:
        assert decode(payload(alert(**given_fields))).alerts[0].ends_at == end, given_fields


def test_a_long_annotation_is_cut_and_the_alert_kept() -> None:
    (decoded,) = decode(payload(alert(annotations={"trace": "x" * 100_000, "empty": ""}))).alerts
    assert len(decoded.annotations["trace"]) == 16 * 1024
    assert decoded.annotations["empty"] == ""


def test_no_alerts_and_no_version_are_fine() -> None:
    assert decode({"alerts": []}).alerts == ()
    assert decode(payload(alert(annotations=None))).alerts[0].annotations == {}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not_json"),
        (b"status=firing", "not_json"),
        (b'{"alerts":[]} tail', "not_json"),
        (b'{"alerts":[', "not_json"),
        (b'{"alerts":[{"labels":{"a":"\\ud800"},"startsAt":"2026-11-23T21:30:02Z"}]}', "not_json"),
        (b"[]", "bad_shape"),
        (b"null", "bad_shape"),
        (b"{}", "bad_shape"),
        (b'{"alerts":null}', "bad_shape"),
        (b'{"alerts":{}}', "bad_shape"),
        (b'{"alerts":[1]}', "bad_shape"),
        (b'{"alerts":[{"labels":{"a":"b"}}]}', "bad_shape"),
        (b'{"alerts":[{"labels":{"a":1},"startsAt":"2026-11-23T21:30:02Z"}]}', "bad_shape"),
        (b'{"alerts":[{"labels":{"a":"b"},"startsAt":"yesterday"}]}', "bad_shape"),
        (b'{"alerts":[{"labels":{"a":"b"},"startsAt":"2026-11-23T21:30:02"}]}', "bad_shape"),
        (b'{"alerts":[],"version":4}', "bad_shape"),
        (b'{"alerts":[],"version":"3"}', "bad_version"),
        (b'{"note":"\xff","alerts":[]}', "not_utf8"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"alerts":[]}', "too_deep"),
        (b'{"x":' + b'{"a":' * 100_000, "too_deep"),
    ],
)
def test_what_can_never_be_accepted(body: bytes, word: str) -> None:
    assert reason(body) == word


def test_bounds() -> None:
    many_labels = {f"label_{number}": "x" for number in range(MOST_LABELS + 1)}
    for document in (
        payload(*[alert()] * (MOST_ALERTS + 1)),
        payload(alert(labels=many_labels)),
        payload(alert(labels={"a": "x" * 20_000})),
        payload(alert(labels={"a" * 2_000: "x"})),
    ):
        assert reason(json.dumps(document).encode()) == "over_limit"
    assert reason(json.dumps(payload(alert(status="pending"))).encode()) == "bad_status"


@pytest.mark.slow
@settings(max_examples=300)
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with contextlib.suppress(PayloadError):
        decode_notification(body, NOW)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_names = st.sampled_from(["status", "labels", "annotations", "startsAt", "endsAt", "fingerprint", "generatorURL"])


@pytest.mark.slow
@settings(max_examples=300)
@given(st.dictionaries(_names, _json), _json)
def test_any_json_is_decoded_or_refused(changes: dict[str, Any], truncated: Any) -> None:
    with contextlib.suppress(PayloadError):
        decode(payload({**alert(), **changes}, truncatedAlerts=truncated))


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("2026-11-23T21:30:02Z", "2026-11-23T21:30:02.000Z"),
        ("2026-11-23T21:30:02.9Z", "2026-11-23T21:30:02.900Z"),
        ("2026-11-23T21:30:02.123999Z", "2026-11-23T21:30:02.123Z"),
        ("2026-11-23T21:30:02.1239999Z", "2026-11-23T21:30:02.123Z"),
        ("2026-11-23T21:30:02.999999999Z", "2026-11-23T21:30:02.999Z"),
        ("2026-11-23T23:30:02.290+02:00", "2026-11-23T21:30:02.290Z"),
        ("2026-11-23t21:30:02z", "2026-11-23T21:30:02.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00.000Z"),
        ("0000-12-31T19:03:58-04:56", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999999999-05:00", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_start_is_cut_and_shown_as_it_was_told(told: str, shown: str) -> None:
    (found,) = decode(payload({"labels": {"alertname": "Down"}, "status": "firing", "startsAt": told})).alerts
    assert rfc3339(found.starts_at) == shown


def test_every_millisecond_is_shown_as_it_was_told() -> None:
    for number in range(1000):
        told = f"2026-11-23T21:30:02.{number:03d}Z"
        assert rfc3339(milliseconds(parse_time(told))) == told


@pytest.mark.parametrize("unset", ["0001-01-01T00:00:00Z", "0001-01-01T05:30:00+05:30", "0000-12-31T19:03:58-04:56"])
def test_an_end_that_is_not_set_is_none(unset: str) -> None:
    given = {"labels": {"alertname": "Down"}, "startsAt": "2026-11-23T21:30:02Z", "endsAt": unset}
    (found,) = decode(payload(given)).alerts
    assert found.firing


@pytest.mark.parametrize(
    "told",
    [
        "",
        "20261123T213002Z",
        "2026-11-23",
        "2026-11-23T21:30Z",
        "2026-W48-1T21:30:02Z",
        "x" * 99,
        f"2026-11-23T21:30:02.{'0' * 99}Z",
    ],
)
def test_what_is_no_time_is_refused(told: str) -> None:
    with pytest.raises(PayloadError, match="is no time in RFC 3339") as caught:
        decode(payload({"labels": {"alertname": "Down"}, "status": "firing", "startsAt": told}))
    assert caught.value.reason == "bad_shape"
