"""The webhook payloads of Alertmanager (version 4) and Grafana Alerting (version 1): bytes to a `Notification`.

Unknown fields are ignored, because newer versions add fields. Alertmanager's Go structs are `notify/webhook` Message
and `template` Alert; Grafana's `pkg/services/ngalert` webhook sends the same with fields of its own.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from remediator.errors import PayloadError
from remediator.model.alert import Alert, Notification, fingerprint, parse_start, parse_time

T = TypeVar("T")

MOST_ALERTS = 10_000
MOST_LABELS = 256
LONGEST_NAME = 1024
LONGEST_VALUE = 16 * 1024
"""Bounds on one notification, with lengths in characters. Label values longer than a template takes are still accepted:
only the step that would use one is refused."""

_LONGEST_ANNOTATION = 16 * 1024
_GRAFANA = "1"
_VERSIONS = ("4", _GRAFANA, "")

_Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
_Labels = Annotated[dict[_Name, Annotated[str, Meta(max_length=LONGEST_VALUE)]], Meta(max_length=MOST_LABELS)]
_Annotations = Annotated[dict[_Name, str], Meta(max_length=MOST_LABELS)]


class _PostedAlert(msgspec.Struct, rename="camel", gc=False):
    labels: _Labels
    starts_at: str
    ends_at: str | None = None
    status: str = ""
    annotations: _Annotations | None = None
    generator_url: str = msgspec.field(default="", name="generatorURL")
    fingerprint: _Name = ""


class _Titled(msgspec.Struct, gc=False):
    """The part of an alert that names it. The rest may be of any shape."""

    labels: dict[str, Any] = {}


class _Payload(msgspec.Struct, rename="camel", gc=False):
    alerts: Annotated[list[msgspec.Raw], Meta(max_length=MOST_ALERTS)]
    version: str = ""
    receiver: str = ""
    group_key: str = ""
    truncated_alerts: int = 0


_payloads = msgspec.json.Decoder(_Payload)
_alerts = msgspec.json.Decoder(_PostedAlert)
_titles = msgspec.json.Decoder(_Titled)


def decode_notification(body: bytes, now: float) -> Notification:
    """The notification in a body.

    `now` is the end of a resolved alert that does not state its end. PayloadError if the body can never be accepted,
    however often it is sent. Its reason is one of not_utf8, not_json, too_deep, over_limit, bad_shape, bad_version,
    bad_status.
    """
    # The decoder does not check fields that it skips, so the whole text is checked first.
    _check_text(body)
    payload = _decode(_payloads, body, "the notification")
    if payload.version not in _VERSIONS:
        message = f"cannot read the notification: its version is {payload.version[:20]!r}, not 4 (Grafana's: 1)"
        raise PayloadError("bad_version", message)
    # The alerts are decoded one by one, because the decoder holds the interpreter while it works.
    alerts: list[Alert] = []
    refused: list[PayloadError] = []
    for raw in payload.alerts:
        try:
            alerts.append(_alert(_decode(_alerts, raw, f"the alert {_title(raw)}"), now, payload.version))
        except PayloadError as error:
            # One alert must not block the others of its group.
            refused.append(error)
        except ValueError as error:
            refused.append(PayloadError("bad_shape", f"cannot read the alert {_title(raw)}: {error}"))
    unreadable = tuple(map(str, refused))
    if refused and not alerts:
        first = refused[0]
        raise PayloadError(first.reason, str(first), unreadable=unreadable)
    return Notification(
        tuple(alerts), payload.receiver, payload.group_key, max(0, payload.truncated_alerts), unreadable
    )


def _title(raw: msgspec.Raw) -> str:
    """The name of an alert in a sentence. The alert may be unreadable."""
    try:
        labels = _titles.decode(raw).labels
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        labels = {}
    names = (labels.get(name) for name in ("alertname", "service", "instance"))
    return " ".join(name[:80] for name in names if isinstance(name, str) and name) or "without a name"


def _check_text(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise PayloadError("not_utf8", f"cannot read the notification: it is not UTF-8 at byte {error.start}") from None


def _decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, name: str) -> T:
    try:
        return decoder.decode(data)
    except RecursionError:
        raise PayloadError("too_deep", f"cannot read {name}: it is nested too deeply") from None
    except msgspec.ValidationError as error:
        reason = "over_limit" if "of length <=" in str(error) else "bad_shape"
        raise PayloadError(reason, f"cannot read {name}: {error}") from None
    except msgspec.DecodeError as error:
        raise PayloadError("not_json", f"cannot read {name}: {error}") from None


def _alert(given: _PostedAlert, now: float, version: str) -> Alert:
    labels = given.labels
    if "" in labels.values():
        # In Prometheus an empty label is the same as no label.
        labels = {name: value for name, value in labels.items() if value}
    return Alert(
        given.fingerprint or fingerprint(labels),
        parse_start(given.starts_at),
        _end(given, now),
        labels,
        _annotations(given.annotations) if given.annotations else {},
        generator_url=given.generator_url[:LONGEST_VALUE],
        sender="grafana" if version == _GRAFANA else "",
    )


def _end(given: _PostedAlert, now: float) -> float | None:
    """When the alert ended. None while it fires. Go writes an unset time as the first second of the year 1."""
    at = None if given.ends_at is None else parse_time(given.ends_at)
    end = None if at is None or at.year <= 1 else at.timestamp()
    if given.status == "firing":
        return None
    if given.status == "resolved":
        return now if end is None else end
    if given.status:
        message = f"cannot read the notification: an alert's status is {given.status[:20]!r}, not firing or resolved"
        raise PayloadError("bad_status", message)
    return end if end is not None and end <= now else None


def _annotations(given: dict[str, str]) -> dict[str, str]:
    """Cut a long annotation. It is text for people, so the notification need not be refused for it."""
    if max(map(len, given.values())) <= _LONGEST_ANNOTATION:
        return given
    return {name: value[:_LONGEST_ANNOTATION] for name, value in given.items()}
