"""OAuth 2.0's client credentials: fetches a token, and keeps it until it is about to expire."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from urllib3.util import Timeout

from remediator.clients.deadline_transport import DeadlineAdapter
from remediator.clients.http_options import HttpClient, OAuth2, TlsConfig, read_secret, ssl_context
from remediator.clients.proxy import connect_headers, proxy_for
from remediator.errors import RemoteError

TIMEOUT = 10.0
"""Seconds that fetching a token may take."""
_EARLY = 10.0
"""Seconds before its end at which a token is not used any more."""
_MOST = 1024 * 1024


class _Token(msgspec.Struct):
    access_token: str
    token_type: str = ""
    expires_in: float | None = None


class Credentials:
    """The headers of each request to a server, an OAuth token among them. Fetching one blocks."""

    def __init__(self, settings: HttpClient) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._token = ""
        self._good_until = 0.0

    @property
    def may_block(self) -> bool:
        """Whether `headers` may send a request."""
        return self._settings.oauth2 is not None

    def headers(self) -> dict[str, str]:
        """The headers. RemoteError when a file cannot be read or no token be had."""
        headers = self._settings.all_headers()
        if self._settings.oauth2 is not None:
            headers["Authorization"] = self._bearer(self._settings.oauth2)
        return headers

    def refused(self) -> None:
        """Fetch a new token for the next request: the server refused this one."""
        self._good_until = 0.0

    def _bearer(self, oauth2: OAuth2) -> str:
        with self._lock:
            if time.monotonic() >= self._good_until:
                token = _fetch(oauth2)
                kind = token.token_type if token.token_type.lower() not in ("", "bearer") else "Bearer"
                self._token = f"{kind} {token.access_token}"
                lasts = token.expires_in if token.expires_in else float("inf")
                self._good_until = time.monotonic() + max(0.0, lasts - _EARLY)
            return self._token


def _fetch(oauth2: OAuth2) -> _Token:
    secret = read_secret(oauth2.client_secret, oauth2.client_secret_file)
    form = {"grant_type": "client_credentials", **oauth2.endpoint_params}
    if oauth2.scopes:
        form["scope"] = " ".join(oauth2.scopes)
    status, body = _post(oauth2, form, (oauth2.client_id, secret))
    if status in (400, 401):
        # Some servers take the client's name and secret among the parameters alone.
        status, body = _post(oauth2, {**form, "client_id": oauth2.client_id, "client_secret": secret}, None)
    shown = _shown(oauth2.token_url)
    if status != 200:
        words = " ".join(body[:300].decode(errors="replace").split()).replace(secret or "\0", "<secret>")
        raise RemoteError(f"cannot get a token at {shown}: it answered {status}: {words}", retry=True, status=status)
    try:
        return msgspec.json.decode(body, type=_Token, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteError(f"cannot get a token at {shown}: its answer has no access_token", retry=True) from None


def _post(oauth2: OAuth2, form: dict[str, str], auth: tuple[str, str] | None) -> tuple[int, bytes]:
    secure = oauth2.token_url.lower().startswith("https:")
    tls = oauth2.tls_config or TlsConfig()
    context = ssl_context(tls, _shown(oauth2.token_url)) if secure else None
    proxy = proxy_for(oauth2, oauth2.token_url)
    session = requests.Session()
    session.trust_env = False
    adapter = DeadlineAdapter(1, context, tls.server_name, connect_headers(oauth2))
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    proxies: Any = {"http": proxy, "https": proxy} if proxy else {}
    try:
        with session.post(
            oauth2.token_url,
            data=form,
            auth=auth,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=Timeout(total=TIMEOUT),  # type: ignore[arg-type]  # requests takes urllib3's, which alone knows a total
            stream=True,
            allow_redirects=False,
            proxies=proxies,
        ) as response:
            return response.status_code, response.raw.read(_MOST, decode_content=True)
    except (requests.RequestException, OSError) as error:
        reason = type(error).__name__
        raise RemoteError(f"cannot get a token at {_shown(oauth2.token_url)}: {reason}", retry=True) from None
    finally:
        session.close()


def _shown(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
