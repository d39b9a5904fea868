"""The Prometheis that a check asks: those of the config where the given address is one of theirs, otherwise that one."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from remediator.clients.prometheus.client import Answer
from remediator.config.servers import PrometheusServer
from remediator.config.settings import Config
from remediator.metrics import Metrics


def server_of(url: str, config: Config | None) -> PrometheusServer:
    """The server at an address. The config's credentials are used only if the address is the config's."""
    address = url.rstrip("/")
    for source in config.sources if config is not None else ():
        if address in source.addresses:
            return replace(source, url=address, urls=())
    return PrometheusServer(url=address)


class PrometheusServers:
    """Their clients, by name."""

    def __init__(self, url: str, config: Config | None, *, query_timeout: float) -> None:
        server = server_of(url, config)
        given = config.sources if config is not None else ()
        known = any(server.url in source.addresses for source in given)
        metrics = Metrics()
        self._here = server.client(query_timeout=query_timeout, metrics=metrics)
        self._named = {
            source.name: source.client(query_timeout=query_timeout, metrics=metrics)
            for source in (given if known and len(given) > 1 else ())
        }

    def query_here(self, expr: str) -> Answer:
        """The answer of the server at the given address."""
        return self._here.query_blocking(expr)

    def query(self, expr: str, source: str = "") -> Answer:
        """The answer of the Prometheus of this name; of the config's first without a name."""
        default = next(iter(self._named.values()), self._here)
        return self._named.get(source, default).query_blocking(expr)

    def close(self) -> None:
        """Close the connections."""
        asyncio.run(self._close())

    async def _close(self) -> None:
        for client in (self._here, *self._named.values()):
            await client.close()
