"""Who asks, as trusted proxies say: for the log, and for cookies."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from doubles.site import serving

from remediator.errors import ConfigError
from remediator.web.auth import load_security


@pytest.mark.parametrize(
    ("forwarded", "shown"),
    [
        (["203.0.113.9"], "203.0.113.9 (by 127.0.0.1)"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9 (by 127.0.0.1)"),
        (["203.0.113.9, 10.1.2.3"], "203.0.113.9 (by 127.0.0.1)"),
        (["203.0.113.9", "10.1.2.3"], "203.0.113.9 (by 127.0.0.1)"),
        (["10.1.2.3"], "10.1.2.3 (by 127.0.0.1)"),
        (["[2001:db8::1]:1234"], "2001:db8::1 (by 127.0.0.1)"),
        (["2001:db8::1"], "2001:db8::1 (by 127.0.0.1)"),
        (["203.0.113.9:80"], "203.0.113.9 (by 127.0.0.1)"),
        (["203.0.113.9, unknown, 10.1.2.3"], "10.1.2.3 (by 127.0.0.1)"),
        (["a\tb"], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
async def test_the_log_names_the_client(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, forwarded: list[str], shown: str
) -> None:
    config = tmp_path / "web.yml"
    config.write_text("trusted_proxies: [127.0.0.1, 10.0.0.0/8]")
    async with serving(tmp_path, security=load_security(config)) as site:
        with caplog.at_level(logging.WARNING):
            headers = [("X-Forwarded-For", value) for value in forwarded]
            assert (await site.ask("POST", "/webhook", data=b"{", headers=headers))[0] == 400
    assert f"refused a notification from {shown} (" in caplog.text


async def test_who_is_not_trusted_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "web.yml"
    config.write_text("trusted_proxies: [10.0.0.0/8]")
    async with serving(tmp_path, security=load_security(config)) as site:
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        await site.ask("POST", "/webhook", data=b"{", headers=headers)
        async with site.session.get(site.url, headers=headers) as page:
            assert not page.cookies["remediator_csrf"]["secure"]
    assert "refused a notification from 127.0.0.1 (" in caplog.text


async def test_cookies_are_for_tls_alone_where_the_browser_speaks_it(tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text("trusted_proxies: [127.0.0.1]")
    async with serving(tmp_path, security=load_security(config)) as site:
        for scheme, secure in (("https", True), ("http", ""), ("https, http", "")):
            site.session.cookie_jar.clear()
            async with site.session.get(site.url, headers={"X-Forwarded-Proto": scheme}) as page:
                assert page.cookies["remediator_csrf"]["secure"] == secure


def test_what_is_no_address_is_said(tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text("trusted_proxies: [the-proxy]")
    with pytest.raises(ConfigError, match="'the-proxy' is neither an address nor a network"):
        load_security(config)
