"""What people are to hear through Alertmanager, as the state it should be in: which alerts are to fire, and which
silences to be there while healing. The code that keeps Alertmanager in that state compares, and needs no memory of its own."""

from __future__ import annotations

import msgspec

SENDER = ("sender", "remediator")
"""The label that every page carries: an alert that comes back with it is our own word, and nothing to heal."""

AUTHOR = "remediator"
"""Who creates the silences of remediator itself."""


class PageAlert(msgspec.Struct, frozen=True):
    """One alert to people. It is to fire as long as it is among the pages, from `starts_at` (seconds since the epoch);
    `labels` are its identity and hold its alertname. `path` is that of the page to read, such as `/incidents/12`."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    path: str = "/"
    resolved: str = ""
    """Its summary once it is over."""


class HealSilence(msgspec.Struct, frozen=True):
    """One silence that holds back the page to people while an incident is healed: on exactly these labels, until
    `ends_at`, and removed as soon as it is no longer wanted."""

    incident: int
    labels: dict[str, str]
    ends_at: float
