"""Secrets in the URLs of http: steps: none is in what the journal, the API and the pages show of a call."""

from __future__ import annotations

import pytest

from remediator.actions.http import http_session, run_http
from remediator.model.action import Call, HttpSpec
from remediator.model.shown_url import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bot:hunter2@hooks.example/x", "https://bot:<secret>@hooks.example/x"),
        ("https://bot:hunter2@x@hooks.example/x", "https://bot:<secret>@hooks.example/x"),
        ("https://hunter2abc@hooks.example/x", "https://<secret>@hooks.example/x"),
        ("https://x.example/?token=hunter2&a=b", "https://x.example/?token=<secret>&a=b"),
        ("https://x.example/?a=b&api_key=hunter2", "https://x.example/?a=b&api_key=<secret>"),
        (
            "https://x.example/r?X-Amz-Signature=hunter2#access_token=hunter2",
            "https://x.example/r?X-Amz-Signature=<secret>#access_token=<secret>",
        ),
        ("https://h.example/services/T01/B02/hunter2hunter2hunter2", "https://h.example/services/T01/B02/<secret>"),
        ("https://t.example/bot123456:AAhunter2hunter2hunter2_-x/send", "https://t.example/bot123456:<secret>/send"),
        (
            "http://10.0.0.1:8080/services/checkout-frontend-canary/restart?wait=30s",
            "http://10.0.0.1:8080/services/checkout-frontend-canary/restart?wait=30s",
        ),
        (
            "https://h.example/T000AAAA/abcdefghijklmnopqrstuvwx?t=hunter2",
            "https://h.example/T000AAAA/<secret>?t=<secret>",
        ),
        ("https://h.example/hunter2hunter2hunter2%3D%3D", "https://h.example/<secret>"),
        ("https://h.example/x?hunter2hunter2", "https://h.example/x?<secret>"),
        ("https://h.example/eyJhb.hunter2hunter2.AbC", "https://h.example/<secret>"),
        (
            "https://h.example/Ab12Cd34hunter2x?p=hunter2&replicas=12",
            "https://h.example/<secret>?p=<secret>&replicas=12",
        ),
        ("http://[::1]:80/a@b?x=c:d@e", "http://[::1]:80/a@b?x=c:d@e"),
    ],
)
async def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "hunter2" not in str(Call(http=HttpSpec(url=url)))


async def test_showing_takes_time_linear_in_the_length() -> None:
    """An hour for these, if it is not."""
    for url in (
        "http://h/?" + "key" * 50_000,
        "http://h/" + "?" * 50_000 + "key" * 50_000,
        "http://h/" + "a/" * 50_000,
    ):
        assert len(shown_url(url)) <= 2 * len(url)


async def test_an_error_does_not_show_it_either() -> None:
    session = http_session()
    try:
        for url in (
            "http://bot:hunter2@127.0.0.1:1/?token=hunter2",
            "http://bot:hunter2@[::1",
            "hunter2://x:hunter2@y",
        ):
            result = await run_http(session, Call(http=HttpSpec(url=url)))
            assert "bot:hunter2" not in result.text
            assert "x:hunter2" not in result.text
            assert "token=hunter2" not in result.text
    finally:
        await session.close()
