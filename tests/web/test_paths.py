"""The web under a path: by which flags, and what then lies where."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.past import open_incident
from doubles.site import serving

from remediator.errors import RemediatorError
from remediator.web.paths import WebPaths, web_paths


@pytest.mark.parametrize(
    ("external", "prefix", "paths"),
    [
        ("", None, WebPaths()),
        ("http://heal.example", None, WebPaths()),
        ("http://heal.example/", None, WebPaths()),
        ("https://ops.example/heal/", None, WebPaths("/heal", "/heal")),
        ("https://ops.example/heal", "/", WebPaths("/heal", "")),
        ("https://ops.example/heal", "", WebPaths("/heal", "")),
        ("https://ops.example/a/b", "c/", WebPaths("/a/b", "/c")),
        ("https://ops.example", "/heal", WebPaths("", "/heal")),
        ("/heal/", None, WebPaths("/heal", "/heal")),
        ("", "/heal", WebPaths("/heal", "/heal")),
    ],
)
def test_paths_by_the_flags(external: str, prefix: str | None, paths: WebPaths) -> None:
    assert web_paths(external, prefix) == paths


@pytest.mark.parametrize(
    ("external", "prefix"),
    [
        ("ops.example/heal", None),
        ("ftp://ops.example", None),
        ("http://", None),
        ("//ops.example", None),
        ("http://ops.example:http/", None),
        ("http://ops.example/?a=b", None),
        ("http://ada:secret@ops.example/", None),
        ('"http://ops.example"', None),
        ("http://ops.example/a b", None),
        ("http://ops.example/../etc", None),
        ("http://ops.example/a//b", None),
        ("", "/{name}"),
        ("", "/a?b"),
    ],
)
def test_what_is_no_path_is_refused(external: str, prefix: str | None) -> None:
    with pytest.raises(RemediatorError, match="cannot use --web"):
        web_paths(external, prefix)


async def test_everything_lies_under_the_prefix(tmp_path: Path) -> None:
    async with serving(tmp_path, paths=WebPaths("/heal", "/heal")) as site:
        await open_incident(site, "checkout")
        for path in ("/-/healthy", "/-/ready", "/metrics", "/api/v1/incidents", "/", "/incidents/1", "/static/live.js"):
            for method in ("GET", "HEAD"):
                async with site.session.request(method, f"{site.url}/heal{path}") as answer:
                    assert answer.status == 200, path
            if path != "/":
                assert (await site.text("GET", path))[0] == 404
        assert (await site.ask("POST", "/heal/webhook", data=b"{"))[0] == 400
        assert (await site.text("POST", "/webhook", data=b"{"))[0] == 404
        for path in ("/", "/heal"):
            async with site.session.get(site.url + path, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, "/heal/")
        assert (await site.text("GET", "/healthy", headers={"Accept": "text/html"}))[0] == 404


async def test_older_ones_lie_under_the_path_that_browsers_see(tmp_path: Path) -> None:
    async with serving(tmp_path, paths=WebPaths("/ops/heal", "/other")) as site:
        for number in range(50):
            await open_incident(site, f"service-{number}")
        _, page = await site.text("GET", "/other/incidents?open=true")
        assert 'href="/ops/heal/incidents?open=true&amp;before=1"' in page
        assert 'aria-current="page">Incidents' in page
        for link in ('href="/incidents', 'href="/other', 'action="/incidents', 'src="/static'):
            assert link not in page
