"""The Grafana double keeps to the annotation API's contract, so that what passes against it is worth something."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from doubles.grafana import Fault, GrafanaDouble


class Api:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        async with self._session.request(method, self._url + path, json=body, **more) as response:
            return response.status, await response.json()

    async def ids(self, query: str) -> list[int]:
        status, items = await self("GET", f"/api/annotations?{query}")
        assert status == 200
        return [item["id"] for item in items]


@pytest.fixture
async def api(double: GrafanaDouble) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, double.url)


async def test_create_and_get(api: Api) -> None:
    body = {"time": 1000, "timeEnd": 2000, "text": "t", "tags": ["a", "b:c"], "data": {"x": 1}, "unknown": True}
    assert await api("POST", "/api/annotations", body) == (200, {"message": "Annotation added", "id": 1})
    status, item = await api("GET", "/api/annotations/1")
    assert status == 200
    assert {name: item[name] for name in ("id", "time", "timeEnd", "text", "tags", "data", "dashboardUID")} == {
        "id": 1,
        "time": 1000,
        "timeEnd": 2000,
        "text": "t",
        "tags": ["a", "b:c"],
        "data": {"x": 1},
        "dashboardUID": None,
    }


async def test_times(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "point", "time": 5})
    await api("POST", "/api/annotations", {"text": "swapped", "time": 9, "timeEnd": 3})
    await api("POST", "/api/annotations", {"text": "now"})
    point, swapped, now = double.annotations.values()
    assert (point["time"], point["timeEnd"]) == (5, 5)
    assert (swapped["time"], swapped["timeEnd"]) == (3, 9)
    assert now["time"] == now["timeEnd"] == now["created"] > 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["runbook:https://x"], ["runbook:https"]),
        (["a:b:c", "a:b:d"], ["a:b"]),
        ([" a : b ", "", ":x", "a:"], ["a:b", "a"]),
        (None, []),
    ],
)
async def test_tags_are_pairs(api: Api, double: GrafanaDouble, given: list[str] | None, kept: list[str]) -> None:
    await api("POST", "/api/annotations", {"text": "t", "tags": given})
    assert double.annotations[1]["tags"] == kept


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text": ""}, "Failed to save annotation"),
        ({}, "Failed to save annotation"),
        ({"text": 1}, "bad request data"),
        ({"text": "t", "tags": "a"}, "bad request data"),
        ({"text": "t", "time": "1"}, "bad request data"),
        ({"text": "t", "tags": [f"k{i}:{'v' * 90}" for i in range(6)]}, "Tags length exceeds the maximum allowed."),
    ],
)
async def test_bad_requests(api: Api, double: GrafanaDouble, body: Any, message: str) -> None:
    status, answer = await api("POST", "/api/annotations", body)
    assert (status, answer["message"]) == (400, message)
    assert not double.annotations


async def test_content_type_and_empty_body(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "t", "tags": ["a"]})
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{double.url}/api/annotations", data=b"{}") as response:
            assert (response.status, await response.json()) == (400, {"message": "bad request data"})
        headers = {"Content-Type": "application/json; charset=utf-8"}
        async with session.patch(f"{double.url}/api/annotations/1", headers=headers) as response:
            assert response.status == 200
    assert double.annotations[1]["text"] == "t"


async def test_a_tag_too_long_for_its_column_fails_half_way(api: Api, double: GrafanaDouble) -> None:
    status, _ = await api("POST", "/api/annotations", {"text": "t", "time": 7, "tags": ["a", "k:" + "v" * 101]})
    assert status == 500
    assert await api.ids("tags=a") == []
    assert await api.ids("from=7&to=7") == [1]
    await api("PATCH", "/api/annotations/1", {"tags": ["a"]})
    assert await api.ids("tags=a") == [1]


async def test_list_by_tags(api: Api) -> None:
    for tags in (["a", "s:x"], ["a", "s:y"], ["b"]):
        await api("POST", "/api/annotations", {"text": "t", "time": 1, "tags": tags})
    assert await api.ids("tags=a&tags=s:x") == [1]
    assert sorted(await api.ids("tags=s:x&tags=b&matchAny=true")) == [1, 3]
    assert sorted(await api.ids("tags=s")) == [1, 2]
    assert await api.ids("tags=a&tags=b") == []
    assert len(await api.ids("")) == 3
    assert len(await api.ids("limit=2")) == 2
    assert await api.ids("type=alert") == []


async def test_list_by_overlapping_time(api: Api) -> None:
    for begin, end in ((10, 20), (30, 40), (15, 35)):
        await api("POST", "/api/annotations", {"text": "t", "time": begin, "timeEnd": end})
    assert await api.ids("from=20&to=29") == [3, 1]
    assert await api.ids("from=36&to=100") == [2]
    assert await api.ids("from=0&to=5") == [2, 3, 1], "a bound of zero is none; the latest end comes first"


async def test_dashboards(api: Api, double: GrafanaDouble) -> None:
    double.dashboards.add("known")
    await api("POST", "/api/annotations", {"text": "t", "dashboardUID": "known", "panelId": 4})
    await api("POST", "/api/annotations", {"text": "t", "dashboardUID": "unknown", "panelId": 4})
    assert [item["dashboardUID"] for item in double.annotations.values()] == ["known", None]
    assert await api.ids("dashboardUID=known") == [1]
    assert (await api("GET", "/api/annotations?dashboardUID=unknown"))[0] == 400


async def test_patch_changes_only_what_is_given(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "t", "time": 5, "tags": ["a"]})
    answer = await api("PATCH", "/api/annotations/1", {"timeEnd": 9})
    assert answer == (200, {"message": "Annotation patched"})
    await api("PATCH", "/api/annotations/1", {"text": "", "time": 0, "tags": None})
    kept = double.annotations[1]
    assert (kept["time"], kept["timeEnd"], kept["text"], kept["tags"]) == (5, 9, "t", ["a"])
    await api("PATCH", "/api/annotations/1", {"tags": []})
    assert kept["tags"] == []


async def test_put_replaces_text_and_tags(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "t", "time": 5, "timeEnd": 9, "tags": ["a"]})
    assert await api("PUT", "/api/annotations/1", {}) == (200, {"message": "Annotation updated"})
    kept = double.annotations[1]
    assert (kept["time"], kept["timeEnd"], kept["text"], kept["tags"]) == (5, 9, "", [])


async def test_delete_and_unknown_ids(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "t"})
    assert await api("DELETE", "/api/annotations/1") == (200, {"message": "Annotation deleted"})
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert await api(method, "/api/annotations/1", {}) == (404, {"message": "Annotation not found"})
        assert await api(method, "/api/annotations/x", {}) == (400, {"message": "annotationId is invalid"})
    double.token, double.narrow = "t", True
    status, _ = await api("PATCH", "/api/annotations/1", {}, headers={"Authorization": "Bearer t"})
    assert status == 403


async def test_mass_delete(api: Api, double: GrafanaDouble) -> None:
    double.dashboards.add("d")
    for panel in (1, 1, 2):
        await api("POST", "/api/annotations", {"text": "t", "dashboardUID": "d", "panelId": panel})
    path = "/api/annotations/mass-delete"
    assert await api("POST", path, {"dashboardUID": "d", "panelId": 1}) == (200, {"message": "Annotations deleted"})
    assert list(double.annotations) == [3]
    await api("POST", path, {"annotationId": 3})
    assert not double.annotations
    assert (await api("POST", path, {}))[0] == 400


async def test_graphite(api: Api, double: GrafanaDouble) -> None:
    path = "/api/annotations/graphite"
    answer = await api("POST", path, {"what": "w", "when": 7, "tags": "a b:c", "data": "d"})
    assert answer == (200, {"message": "Graphite annotation added", "id": 1})
    assert (double.annotations[1]["text"], double.annotations[1]["time"]) == ("w\nd", 7000)
    assert double.annotations[1]["tags"] == ["a", "b:c"]
    for body in ({"tags": "a"}, {"what": "w"}, {"what": "w", "tags": [1]}, {"what": "w", "tags": 1}):
        assert await api("POST", path, body) == (400, {"message": "Failed to save Graphite annotation"})


async def test_tags(api: Api) -> None:
    for tags in (["a:b"], ["a:b", "c"]):
        await api("POST", "/api/annotations", {"text": "t", "tags": tags})
    found = {"result": {"tags": [{"tag": "a:b", "count": 2}]}}
    assert await api("GET", "/api/annotations/tags?tag=b") == (200, found)
    assert len((await api("GET", "/api/annotations/tags"))[1]["result"]["tags"]) == 2


async def test_who_is_let_in(api: Api, double: GrafanaDouble) -> None:
    double.token, double.basic = "glsa_x", ("admin", "secret")

    async def asked(authorization: str = "", **headers: str) -> tuple[int, str]:
        given = {"Authorization": authorization, **headers} if authorization else {}
        status, answer = await api("GET", "/api/annotations", headers=given)
        return status, answer["message"] if status != 200 else ""

    def basic(pair: str) -> str:
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    assert await asked() == (401, "Unauthorized")
    assert await asked("Bearer wrong") == (401, "Invalid API key")
    assert await asked(basic("admin:wrong")) == (401, "Invalid username or password")
    for right in ("Bearer glsa_x", basic("admin:secret"), basic("api_key:glsa_x")):
        assert await asked(right) == (200, "")
    mismatch = "API key does not belong to the requested organization"
    assert await asked("Bearer glsa_x", **{"X-Grafana-Org-Id": "2"}) == (401, mismatch)
    double.token_state = "expired"
    assert await asked("Bearer glsa_x") == (401, "Expired API key")
    assert (await api("GET", "/api/health"))[0] == 200


async def test_permissions(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "t"})
    double.permissions = {"annotations:read"}
    status, answer = await api("POST", "/api/annotations", {"text": "t"})
    assert (status, answer["title"]) == (403, "Access denied")
    assert "annotations:create" in answer["message"]
    assert (await api("PATCH", "/api/annotations/1", {}))[0] == 403
    assert (await api("DELETE", "/api/annotations/1"))[0] == 403
    assert (await api("GET", "/api/annotations/1"))[0] == 200


@pytest.mark.parametrize(
    ("fault", "status", "stored"),
    [(Fault.ERROR, 500, 0), (Fault.TOO_MANY, 429, 0), (Fault.DONE_THEN_ERROR, 500, 1), (Fault.HALF_DONE, 500, 1)],
)
async def test_faults_that_answer(api: Api, double: GrafanaDouble, fault: Fault, status: int, stored: int) -> None:
    double.next_faults.append(fault)
    assert (await api("POST", "/api/annotations", {"text": "t"}))[0] == status
    assert len(double.annotations) == stored
    assert (await api("POST", "/api/annotations", {"text": "t"}))[0] == 200


@pytest.mark.parametrize(("fault", "stored"), [(Fault.DROP, 0), (Fault.DONE_THEN_DROP, 1), (Fault.DONE_LATE, 0)])
async def test_faults_that_do_not(api: Api, double: GrafanaDouble, fault: Fault, stored: int) -> None:
    double.next_faults.append(fault)
    with pytest.raises(aiohttp.ClientError):
        await api("POST", "/api/annotations", {"text": "t"})
    assert len(double.annotations) == stored
    double.finish_late()
    assert len(double.annotations) == (1 if fault is Fault.DONE_LATE else stored)


async def test_an_outage_refuses_connections_and_loses_nothing(api: Api, double: GrafanaDouble) -> None:
    await api("POST", "/api/annotations", {"text": "t"})
    await double.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await api("GET", "/api/health")
    await double.start()
    assert (await api("GET", "/api/annotations/1"))[0] == 200
