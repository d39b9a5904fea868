"""The PromQL client against a real Prometheus: what it is asked, what it answers, and what becomes of it when it goes."""

import contextlib
import math

import bcrypt
import pytest
from doubles.scripted import Authority
from real.prometheus import HANGS, Exposition, RealPrometheus, in_thread, until

from remediator.clients.http_options import BasicAuth, HttpClient, Secret, TlsConfig
from remediator.clients.prometheus.client import Prometheus, Series
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus


@contextlib.asynccontextmanager
async def client_of(url, *, timeout=HANGS, **settings):
    client = Prometheus(HttpClient(url, **settings), query_timeout=timeout, metrics=Metrics())
    try:
        yield client
    finally:
        await client.close()


async def test_values_and_errors(tmp_path):
    async with RealPrometheus(tmp_path) as server, client_of(server.url) as client:
        answer = await client.query('label_replace(vector(0.2), "service", "checkout", "", "")')
        assert (answer.query_status, answer.kind, answer.error) == (QueryStatus.SEEN, "vector", "")
        assert answer.series == [Series({"service": "checkout"}, 0.2)]

        assert math.isnan((await client.query("vector(0) / 0")).series[0].value)
        assert (await client.query("vector(1) / 0")).series[0].value == math.inf
        assert (await client.query("vector(-1) / 0")).series[0].value == -math.inf
        empty = await client.query("no_such_metric")
        assert (empty.query_status, empty.series, empty.condition()) == (QueryStatus.SEEN, [], None)
        scalar = await client.query("1 + 1")
        assert (scalar.kind, scalar.series, scalar.condition()) == ("scalar", [Series({}, 2.0)], True)

        broken = await client.query("sum by (service (up)")
        assert broken.query_status is QueryStatus.BAD_DATA
        assert "parse error" in broken.error
        both = 'label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", "")'
        clash = await client.query(f"sum({both}) * on () ({both})")
        assert clash.query_status is QueryStatus.EXECUTION
        assert "many-to-one" in clash.error or "many-to-many" in clash.error
        matrix = await client.query("vector(1)[5m:1m]")
        assert matrix.query_status is QueryStatus.BAD_ANSWER
        assert "matrix" in matrix.error
        assert (await client.query('"text"')).query_status is QueryStatus.BAD_ANSWER


async def test_a_query_longer_than_any_url(tmp_path):
    async with RealPrometheus(tmp_path) as server, client_of(server.url) as client:
        names = "|".join(f"service-{number}" for number in range(20_000))
        answer = await client.query(f'vector(1) or up{{service=~"{names}"}}')
        assert (answer.query_status, answer.series) == (QueryStatus.SEEN, [Series({}, 1.0)])


async def test_prometheus_gives_up_by_itself(tmp_path):
    heavy = "sum(max_over_time((sum(count_over_time(vector(1)[1h:1s])))[12h:1s]))"  # 50 ms without a limit
    async with RealPrometheus(tmp_path, flags=["--query.timeout=1ms"]) as server, client_of(server.url) as client:
        answer = await client.query(heavy)
    assert answer.query_status is QueryStatus.TIMEOUT
    assert "Prometheus says timeout" in answer.error


async def test_a_prometheus_that_hangs_and_comes_back(tmp_path):
    async with RealPrometheus(tmp_path) as server, client_of(server.url, timeout=0.5) as client:

        async def seen():
            return (await client.query("vector(1)")).query_status is QueryStatus.SEEN

        await until(seen)
        server.suspend()
        assert (await client.query("vector(1)")).query_status is QueryStatus.TIMEOUT
        server.resume()
        await until(seen)


async def test_a_prometheus_that_dies_and_comes_back(tmp_path):
    async with RealPrometheus(tmp_path) as server, client_of(server.url) as client:
        assert (await client.query("vector(1)")).query_status is QueryStatus.SEEN
        await in_thread(server.kill)()
        assert (await client.query("vector(1)")).query_status is QueryStatus.UNREACHABLE
        await in_thread(server.start)()
        assert (await client.query("vector(1)")).query_status is QueryStatus.SEEN


async def test_scraped_series_are_seen(tmp_path):
    with Exposition('errors{service="checkout"} 0.25\nerrors{service="search"} NaN') as exposition:
        async with RealPrometheus(tmp_path, targets=[exposition.address]) as server, client_of(server.url) as client:

            async def scraped():
                return (await client.query("errors")).condition()

            await until(scraped)
            answer = await client.query("sum by (service) (errors)")
            values = {series.labels["service"]: series.value for series in answer.series}
            assert values["checkout"] == 0.25
            assert math.isnan(values["search"])


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_behind_a_web_config(tmp_path, tls):
    users = {"remediator": bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode()}
    web_config = {"basic_auth_users": users}
    tls_config = None
    if tls:
        authority = Authority(tmp_path)
        cert, key = authority.issue("server", "IP:127.0.0.1")
        web_config["tls_server_config"] = {"cert_file": str(cert), "key_file": str(key)}
        tls_config = TlsConfig(ca_file=str(authority.ca))
    async with RealPrometheus(tmp_path, web_config=web_config) as server:
        basic_auth = BasicAuth("remediator", Secret("hunter2"))
        async with client_of(server.url, basic_auth=basic_auth, tls_config=tls_config) as client:

            async def up():
                return (await client.query("vector(1)")).condition()

            await until(up)
        async with client_of(server.url, tls_config=tls_config) as client:
            refused = await client.query("vector(1)")
    assert refused.query_status is QueryStatus.BAD_ANSWER
    assert "credentials" in refused.error
