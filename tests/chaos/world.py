"""What a sweep happens in: services that are files, commands that leave a witness, and the neighbours.

A service is broken while there is a file of its name in `broken`, which says which command mends it. Each command holds
a lock of its service for as long as a process of it lives, and writes a line when it begins: what ran, for which
incident, and whether another command of the service was still at work.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

SERVICES = tuple(f"s{number}" for number in range(24))
MENDERS = ("restart", "rollback", "replace")
_TAKES = {"restart": "0.2", "rollback": "0", "replace": "0.5", "diagnose": "0.3"}

_WITNESS = """#!/bin/sh
# witness FOLDER STEP SERVICE SECONDS
exec 9>> "$1/locks/$3"
beside=alone
flock --nonblock 9 || beside=beside
echo "$REMEDIATOR_INCIDENT $2 $3 $beside" >> "$1/witness.log"
sleep "$4"
if [ "$(cat "$1/broken/$3" 2> /dev/null)" = "$2" ]; then rm -f "$1/broken/$3"; fi
exit 0
"""


class World:
    """The services and what happens to them. `rng` decides it all."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self._rng = rng
        self.witness = folder / "witness"
        for name in ("broken", "locks"):
            (folder / name).mkdir(parents=True)
        self.witness.write_text(_WITNESS)
        self.witness.chmod(0o755)
        (folder / "witness.log").touch()

    def broken(self) -> list[str]:
        """The services in trouble."""
        return sorted(path.name for path in (self.folder / "broken").iterdir() if not path.name.startswith("."))

    def break_one(self) -> str | None:
        """Break a service that is well; its name."""
        well = sorted(set(SERVICES) - set(self.broken()))
        if not well:
            return None
        name = self._rng.choice(well)
        fresh = self.folder / "broken" / f".{name}"
        fresh.write_text(self._rng.choice(MENDERS))
        fresh.rename(self.folder / "broken" / name)
        return name

    def mend(self, broken_for: float) -> None:
        """Mend what has been broken for so many seconds, as people would."""
        for name in self.broken():
            file = self.folder / "broken" / name
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > broken_for:
                    file.unlink()

    def executions(self) -> list[tuple[int, str, str, bool]]:
        """Every execution by the witness: incident, step, service, and whether another was at work beside it."""
        lines = (self.folder / "witness.log").read_text().splitlines()
        return [
            (int(incident), step, service, beside == "beside")
            for incident, step, service, beside in (line.split() for line in lines)
        ]

    def rules(self) -> str:
        """The rule file."""

        def command(step: str) -> list[str]:
            return [str(self.witness), str(self.folder), step, "{{ service.name }}", _TAKES[step]]

        return yaml.safe_dump(
            {
                "services": [
                    {"name": name, "target": {"command": {step: command(step) for step in _TAKES}}} for name in SERVICES
                ],
                "thresholds": [{"name": "broken", "expr": "broken", "failed": "> 0"}],
                "runbooks": [
                    {
                        "name": "mend",
                        "steps": [{step: None, "timeout": "2s"} for step in MENDERS],
                        "verify": {"healthy_for": "0s", "within": "1s"},
                        "limits": {"cooldown": "0s", "relapse": "0s", "rate": "100000/1h"},
                        "silence": "1m",
                    }
                ],
            }
        )

    def config(self, *, prometheus: str, alertmanager: str, grafana: str, storage: dict[str, str]) -> dict[str, Any]:
        """The config file."""
        return {
            "global": {
                "evaluation_interval": "500ms",
                "stale_after": "10s",
                "settle": "0s",
                "external_url": "http://remediator.example",
            },
            "prometheus": {"url": prometheus},
            "alertmanagers": [{"url": alertmanager, "receiver": "remediator"}],
            "grafana": {"url": grafana},
            "rule_files": ["rules.yml"],
            "storage": storage,
            "limits": {"concurrent": 6, "rate": "100000/1h", "panic": "100%"},
        }

    def prometheus(self) -> web.Application:
        """A Prometheus that sees which services are broken."""

        async def query(request: web.Request) -> web.Response:
            given = await request.post() if request.method == "POST" else request.query
            broken, now = self.broken(), time.time()
            if given.get("query") == "broken":
                result = [{"metric": {"service": name}, "value": [now, str(int(name in broken))]} for name in SERVICES]
            else:
                result = [{"metric": {}, "value": [now, "1"]}]
            body = {"status": "success", "data": {"resultType": "vector", "result": result}}
            return web.Response(text=json.dumps(body), content_type="application/json")

        app = web.Application()
        app.router.add_route("*", "/api/v1/query", query)
        return app
