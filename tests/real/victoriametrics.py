"""Real VictoriaMetrics, single node, on a free loopback port, with what a test imports as its data.

async with RealVictoriaMetrics(tmp_path) as server:
    server.load('errors{service="checkout"} 0.25')
"""

from __future__ import annotations

import time
import urllib.parse
import urllib.request
from typing import Any

from real.prometheus import _Server


class RealVictoriaMetrics(_Server):
    """VictoriaMetrics. Values that are loaded are seen at once."""

    binary, package, name = "victoria-metrics", "victoria-metrics", "victoriametrics"

    def __init__(self, folder: Any) -> None:
        super().__init__(folder, None, ())

    def load(self, text: str, *, ago: float = 5.0) -> None:
        """Import samples in the exposition format, as of `ago` seconds ago. Blocks."""
        query = urllib.parse.urlencode({"timestamp": int((time.time() - ago) * 1000)})
        url = f"{self.url}/api/v1/import/prometheus?{query}"
        urllib.request.urlopen(urllib.request.Request(url, data=text.encode()), timeout=10).close()
        urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=10).close()

    def _ready(self) -> bool:
        try:
            self.request("/health")
        except OSError:
            return False
        return True

    def _arguments(self) -> list[str]:
        return [
            f"-httpListenAddr={self.address}",
            f"-storageDataPath={self.folder / 'data'}",
            "-search.latencyOffset=0s",
            "-loggerOutput=stderr",
        ]

    def _listen(self) -> list[str]:
        """The address is among the arguments."""
        return []

    def _write(self) -> None:
        """There is no configuration file."""
