"""The config file, its defaults, and the files beside it."""

from pathlib import Path

import pytest

from remediator.clients.http_options import Authorization, BasicAuth, Secret, TlsConfig
from remediator.config.servers import AlertmanagerClient, PrometheusServer, Server
from remediator.config.settings import DEFAULT_SEVERITY, Config, load_config
from remediator.errors import ConfigError
from remediator.model.health import Health
from remediator.model.rules import Rate, Share

FULL = (Path(__file__).parent / "config.yml").read_text()


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "remediator.yml"
    path.write_text(text)
    return load_config(path)


def test_everything(tmp_path: Path) -> None:
    config = load(tmp_path, FULL)
    assert (config.global_.evaluation_interval, config.global_.auto_heal) == (0.0, False)
    assert (config.global_.service_label, config.global_.query_timeout) == ("app", 2.5)
    assert config.global_.external_url == "https://remediator.example/heal"
    assert config.prometheus == PrometheusServer(
        url="https://prometheus.example:9090/prom",
        basic_auth=BasicAuth("me", Secret("s3cret")),
        tls_config=TlsConfig(str(tmp_path / "ca.pem"), "/etc/cert.pem", str(tmp_path / "key.pem"), "p", True),
        headers={"X-Scope-OrgID": "7"},
    )
    assert config.alertmanagers == (
        AlertmanagerClient(url="http://localhost:9093", receiver="remediator"),
        AlertmanagerClient(url="http://localhost:9094", basic_auth=BasicAuth("me", None, str(tmp_path / "password"))),
    )
    assert config.grafana == Server(
        url="http://localhost:3000",
        authorization=Authorization("Token", None, str(tmp_path / "grafana-token")),
    )
    assert config.storage.path == str(tmp_path / "data/remediator.db")
    assert config.storage.retention == 30 * 86400
    assert config.limits.rate == (Rate(30, 3600.0), Rate(100, 86400.0))
    assert (config.limits.concurrent, config.limits.panic) == (2, Share(3.0))
    assert config.severity == {"critical": Health.FAILED, "info": Health.HEALTHY}
    assert config.severities() == {**DEFAULT_SEVERITY, "info": Health.HEALTHY}
    assert "s3cret" not in repr(config)


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "prometheus: {url: 'http://localhost:9090'}")
    settings = config.global_
    assert (settings.evaluation_interval, settings.query_timeout, settings.stale_after) == (5.0, 5.0, 30.0)
    assert settings.repeat_within == 8 * 3600
    assert (settings.auto_heal, settings.service_label, settings.external_url) == (True, "service", "")
    assert config.alertmanagers == config.rule_files == ()
    assert config.grafana is None
    assert config.storage.path == str(tmp_path / "remediator.db")
    assert config.storage.retention == 90 * 86400
    assert config.limits.rate == (Rate(30, 3600.0),)
    assert (config.limits.concurrent, config.limits.panic) == (4, Share(50.0, percent=True))
    assert config.severities() == DEFAULT_SEVERITY


def test_a_severity_is_one_in_any_case_of_letters(tmp_path: Path) -> None:
    text = "prometheus: {url: 'http://p'}\nseverity: {Critical: degraded, High: failed}"
    config = load(tmp_path, text)
    assert config.severities() == {**DEFAULT_SEVERITY, "critical": Health.DEGRADED, "high": Health.FAILED}
    with pytest.raises(ConfigError, match=r"remediator\.yml:2:52: error: High and HIGH are the same severity"):
        load(tmp_path, text.replace("High: failed", "High: failed, HIGH: degraded"))


def test_the_database_may_be_anywhere(tmp_path: Path) -> None:
    config = load(tmp_path, "prometheus: {url: 'http://p'}\nstorage: {url: 'sqlite:////var/lib/x.db'}")
    assert config.storage.path == "/var/lib/x.db"


def test_rule_files_are_found_anew_each_time(tmp_path: Path) -> None:
    config = load(tmp_path, FULL)
    assert config.rule_paths() == [tmp_path / "more.yml"]
    (tmp_path / "rules").mkdir()
    for name in ("b.yml", "a.yml", "a.txt"):
        (tmp_path / "rules" / name).touch()
    assert config.rule_paths() == [tmp_path / "rules/a.yml", tmp_path / "rules/b.yml", tmp_path / "more.yml"]


def test_nothing_is_expanded_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER", "x")
    config = load(
        tmp_path, "prometheus: {url: 'http://p'}\nalertmanagers: [{url: 'http://a', receiver: '${RECEIVER}'}]"
    )
    assert config.alertmanagers[0].receiver == "${RECEIVER}"


@pytest.mark.parametrize(
    "url", ["", "p", "p:9090", "ftp://p", "http://", "http://p:x", "http://p:99999", "http://[", "http://a b"]
)
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="not an address"):
        load(tmp_path, f"prometheus: {{url: '{url}'}}")


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://x.db", "remediator.db", "mysql://x"])
def test_a_store_that_is_not_supported(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="this is neither an SQLite file nor a PostgreSQL database"):
        load(tmp_path, f"prometheus: {{url: 'http://p'}}\nstorage: {{url: '{url}'}}")


def test_an_empty_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file is empty"):
        load(tmp_path, "# nothing\n")


def test_a_config_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "remediator.yml")


def test_a_store_in_postgresql(tmp_path: Path) -> None:
    url = "postgresql://remediator@db-1,db-2:5433/heal?sslmode=verify-full&target_session_attrs=read-write"
    text = f"prometheus: {{url: 'http://p'}}\nstorage: {{url: '{url}', password_file: secret, lease_ttl: 20s}}"
    storage = load(tmp_path, text).storage
    assert (storage.shared, storage.url, storage.lease_ttl) == (True, url, 20.0)
    assert storage.password_file == str(tmp_path / "secret")


def test_a_lease_that_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a lease of less than 2s would be lost at every hitch of the network"):
        load(tmp_path, "prometheus: {url: 'http://p'}\nstorage: {lease_ttl: 1s}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://localhost", "this names no database"),
        ("postgresql:///", "this names no database"),
        ("postgresql://u:geheim@h/db?colour=red", 'libpq cannot read this: invalid URI query parameter: "colour"'),
        ("postgresql://u:geheim@[::1/db", "libpq cannot read this: it is no address"),
    ],
)
def test_an_address_that_libpq_does_not_take(tmp_path: Path, url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as told:
        load(tmp_path, f"prometheus: {{url: 'http://p'}}\nstorage: {{url: '{url}'}}")
    assert reason in str(told.value)
    assert "geheim" not in str(told.value)


COPIED = """\
prometheus:
  url: https://prometheus.example
  method: GET
  oauth2:
    client_id: remediator
    client_secret_file: secret
    scopes: [read, metrics]
    token_url: https://sso.example/token
    endpoint_params: {audience: prom}
    tls_config: {ca_file: sso.pem, min_version: TLS12}
    proxy_url: http://proxy.example:3128
  tls_config:
    ca: |
      -----BEGIN CERTIFICATE-----
    cert_file: cert.pem
    key_file: key.pem
    min_version: TLS12
    max_version: TLS13
  http_headers:
    X-Scope-OrgID: {values: [shop]}
    X-Secret: {secrets: [hunter2], files: [more]}
  follow_redirects: true
  enable_http2: true
  proxy_url: http://me:hunter2@proxy.example:3128
  no_proxy: 10.0.0.0/8,localhost
  proxy_connect_header: {X-Team: [hunter2]}
grafana: {url: 'http://g', bearer_token_file: token, proxy_from_environment: true}
alertmanagers:
  - url: http://a
    basic_auth: {username_file: user, password_file: password}
"""


def test_a_block_copied_from_prometheus(tmp_path: Path) -> None:
    config = load(tmp_path, COPIED)
    given = config.prometheus
    assert (given.method, given.follow_redirects, given.enable_http2) == ("GET", True, True)
    assert given.oauth2 is not None
    assert given.oauth2.tls_config is not None
    assert given.oauth2.client_secret_file == str(tmp_path / "secret")
    assert given.oauth2.tls_config.ca_file == str(tmp_path / "sso.pem")
    assert given.http_headers["X-Secret"].files == (str(tmp_path / "more"),)
    assert config.grafana is not None
    assert config.grafana.bearer_token_file == str(tmp_path / "token")
    basic = config.alertmanagers[0].basic_auth
    assert basic is not None
    assert (basic.username_file, basic.password_file) == (str(tmp_path / "user"), str(tmp_path / "password"))
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "basic_auth: {username: a}, oauth2: {client_id: a, client_secret: b, token_url: 'http://t'}",
            "both basic_auth and oauth2",
        ),
        ("bearer_token: a, bearer_token_file: b", "both bearer_token and bearer_token_file"),
        ("basic_auth: {password: a}", "the key username is missing here"),
        ("basic_auth: {username: a, username_file: b}", "both username and username_file"),
        ("basic_auth: {username: a, password_ref: b}", "there are no secret providers here: name a file instead"),
        ("oauth2: {client_id: a, token_url: 'http://t'}", "the key client_secret is missing here"),
        ("oauth2: {client_id: a, client_secret: b, token_url: 't'}", "not an address"),
        (
            "oauth2: {client_id: a, client_secret: b, client_secret_file: c, token_url: 'http://t'}",
            "both client_secret and",
        ),
        (
            "oauth2: {client_id: a, client_certificate_key: b, token_url: 'http://t'}",
            "only the grant type client_credentials",
        ),
        ("tls_config: {ca: a, ca_file: b}", "both ca and ca_file"),
        ("tls_config: {cert: a}", "a certificate is shown with its key"),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", "min_version TLS13 is newer than max_version TLS12"),
        ("tls_config: {min_version: SSL3}", "SSL3"),
        ("proxy_url: 'socks5://p:1080'", "SOCKS is not supported"),
        ("proxy_url: 'http://p:1', proxy_from_environment: true", "both proxy_url and proxy_from_environment"),
        ("no_proxy: a", "no_proxy is for a proxy_url, and there is none"),
        ("proxy_connect_header: {a: [b]}", "proxy_connect_header is for a proxy, and there is none"),
        ("http_headers: {Authorization: {values: [a]}}", "the header Authorization cannot be set, as in Prometheus"),
        ("sigv4: {}", "requests are not signed for clouds here"),
    ],
)
def test_what_cannot_be_meant_is_told_by_its_key(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"prometheus: {{url: 'http://p', {keys}}}")
    assert message in str(raised.value)


def test_several_prometheis(tmp_path: Path) -> None:
    text = """\
prometheus:
  - {name: us, url: 'http://us:9090', bearer_token_file: token}
  - {name: eu, urls: ['http://eu-1:9090', 'http://eu-2:9090/'], method: GET}
"""
    config = load(tmp_path, text)
    us, eu = config.sources
    assert (us.name, us.addresses, us.bearer_token_file) == ("us", ("http://us:9090",), str(tmp_path / "token"))
    assert (eu.name, eu.addresses, eu.method) == ("eu", ("http://eu-1:9090", "http://eu-2:9090"), "GET")
    assert config.source_names == {"us", "eu"}
    assert [source.addresses for source in load(tmp_path, "prometheus: {url: 'http://p'}").sources] == [("http://p",)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[]", "there is no Prometheus here"),
        ("[{url: 'http://a'}, {url: 'http://b', name: b}]", "one of several Prometheis needs a name"),
        ("[{url: 'http://a', name: b}, {url: 'http://b', name: b}]", "there is another Prometheus of the name b"),
        ("{name: a}", "the key url is missing here"),
        ("{url: 'http://a', urls: ['http://b']}", "there are both url and urls"),
        ("{urls: ['http://b', 'http://b']}", "the same address is there twice"),
    ],
)
def test_prometheis_that_cannot_be_meant(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, f"prometheus: {given}")
