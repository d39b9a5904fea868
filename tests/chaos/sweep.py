"""One sweep: daemons are killed again and again while they heal, and then the books are audited.

Alerts go the real way, through a real Alertmanager, which sends again what was not accepted; Grafana is a double, and the
database real. Between two kills the daemon, or one of two that share a PostgreSQL, is started again on what the one before
left. In the end nothing breaks any more, everything has to come to rest, and what the witness saw is held against what
the store says.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from chaos.victim import OPERATIONS, SHARED_OPERATIONS
from chaos.world import SERVICES, World
from doubles.grafana import GrafanaDouble
from real.postgresql import RealPostgresql
from real.prometheus import RealAlertmanager, free_port

from remediator.model.alert import Source
from remediator.model.clock import rfc3339
from remediator.model.incident import DIAGNOSE
from remediator.store.interface import Store
from remediator.store.postgresql import open_postgresql
from remediator.store.sqlite import open_sqlite

TTL = 2.0
_LEASE_WITHIN = 6 * TTL
_LIFE = 3.0
"""Seconds that a daemon lives at most before it is killed at a random moment."""
_BOUNDARY_WITHIN = 240.0
"""Seconds until a daemon that has not come to its write boundary counts as hanging."""
_REST_WITHIN = 300.0
_LEFT_TO_PEOPLE = 60.0
"""Seconds after which what is still broken is mended by hand."""
_VICTIM = Path(__file__).with_name("victim.py")


@dataclass
class Report:
    """What a sweep found. Everything in `faults` has to be 0."""

    store: str
    seed: int
    kills: int = 0
    boundaries: int = 0
    """How many kills were to be at a write boundary."""
    at_boundaries: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    accepted: int = 0
    executions: int = 0
    incidents: int = 0
    annotations: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        boundaries = ", ".join(f"{name} {count}" for name, count in sorted(self.at_boundaries.items()))
        return [
            f"{self.store}, seed {self.seed}: {self.kills} kills in {self.seconds:.0f} s,"
            f" {sum(self.at_boundaries.values())} of {self.boundaries} at write boundaries ({boundaries})",
            f"  {self.accepted} alerts accepted, {self.incidents} incidents, {self.executions} commands run,"
            f" {self.annotations} annotations",
            *(f"  {name}: {count}" for name, count in self.faults.items()),
            *(f"  {note}" for note in self.notes),
        ]


class Replica:
    """One daemon, started again and again."""

    def __init__(self, folder: Path, config: dict[str, Any], rules: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None
        self.told = folder / "told"
        folder.mkdir(parents=True)
        (folder / "remediator.yml").write_text(yaml.safe_dump(config))
        (folder / "rules.yml").write_text(rules)

    async def start(self, kill: str = "") -> None:
        """Start it, to kill itself as `kill` says."""
        self.told.unlink(missing_ok=True)
        environment = {**os.environ, "CHAOS_KILL": kill, "CHAOS_TOLD": str(self.told)}
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(_VICTIM),
                "serve",
                f"--config.file={self.folder / 'remediator.yml'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.allow-unauthenticated",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def ends(self, within: float) -> bool:
        """Whether it ends by itself in so many seconds."""
        assert self.process is not None
        try:
            async with asyncio.timeout(within):
                await self.process.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            await self.process.wait()


class Sweep:
    """Everything of one sweep. `store` is sqlite or postgresql; `kills` how many there are to be."""

    def __init__(self, folder: Path, store: str, seed: int, kills: int) -> None:
        self.folder = folder
        self.kills = kills
        self.report = Report(store, seed)
        self._rng = random.Random(seed)
        self.world = World(folder, random.Random(seed + 1))
        self.grafana = GrafanaDouble()
        self.replicas: list[Replica] = []
        self._accepted: dict[tuple[str, str], str] = {}
        """The alerts that were answered 200, by fingerprint and start, each with its last status."""
        self._said: dict[str, str] = {}
        self._breaking = True

    async def run(self) -> Report:
        """Sweep, and audit."""
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            storage = await self._storage(stack)
            alertmanager = await self._neighbours(stack, storage)
            stack.push_async_callback(self._kill_all)
            for work in (self._break(), self._tell(alertmanager), self._ask()):
                task = asyncio.create_task(work)
                stack.callback(task.cancel)
            await self._sweep()
            await self._come_to_rest(alertmanager)
            await self._audit(storage, alertmanager)
        self.report.seconds = time.monotonic() - began
        return self.report

    async def _storage(self, stack: contextlib.AsyncExitStack) -> dict[str, str]:
        if self.report.store == "sqlite":
            return {"url": f"sqlite:///{self.folder / 'remediator.db'}"}
        server = RealPostgresql()
        await asyncio.to_thread(server.__enter__)
        stack.callback(server.close)
        url = await asyncio.to_thread(server.create, "heal")
        return {"url": url, "lease_ttl": f"{TTL:g}s"}

    async def _neighbours(self, stack: contextlib.AsyncExitStack, storage: dict[str, str]) -> RealAlertmanager:
        await self.grafana.start()
        stack.push_async_callback(self.grafana.stop)
        prometheus = await stack.enter_async_context(TestServer(self.world.prometheus()))
        tap = web.Application()
        tap.router.add_post("/webhook", self._pass_on)
        self._session = await stack.enter_async_context(aiohttp.ClientSession())
        hook = await stack.enter_async_context(TestServer(tap))
        alertmanager = RealAlertmanager(self.folder / "alertmanager", webhook=str(hook.make_url("/webhook")))
        await stack.enter_async_context(alertmanager)
        config = self.world.config(
            prometheus=str(prometheus.make_url("")).rstrip("/"),
            alertmanager=alertmanager.url,
            grafana=self.grafana.url,
            storage=storage,
        )
        names = ("a",) if self.report.store == "sqlite" else ("a", "b")
        self.replicas = [Replica(self.folder / name, config, self.world.rules()) for name in names]
        return alertmanager

    # What goes on meanwhile.

    async def _break(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.1, 0.5))
            if self._breaking:
                # Only a service that is well can break and lead to the next commit; what no step mends, people do.
                self.world.mend(broken_for=_LEFT_TO_PEOPLE)
                self.world.break_one()

    async def _tell(self, alertmanager: RealAlertmanager) -> None:
        """Be the Prometheus whose alerting rule sees what is broken."""
        while True:
            await asyncio.sleep(0.3)
            now, broken = time.time(), set(self.world.broken())
            alerts = []
            for name in broken | set(self._said):
                labels = {"alertname": "Broken", "service": name, "severity": "critical"}
                if name in broken:
                    starts = self._said.setdefault(name, rfc3339(now))
                    alerts.append({"labels": labels, "startsAt": starts, "endsAt": rfc3339(now + 300)})
                else:
                    starts = self._said.pop(name)
                    alerts.append({"labels": labels, "startsAt": starts, "endsAt": rfc3339(now)})
            if alerts:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(alertmanager.post, *alerts)

    async def _ask(self) -> None:
        """Be the operators who ask for heals, of services that are well."""
        for number in itertools.count():
            await asyncio.sleep(self._rng.uniform(0.5, 1.5))
            if not self._breaking:
                return
            replica, name = self._rng.choice(self.replicas), self._rng.choice(SERVICES)
            body = {"author": "ada", "comment": f"request {number}", "force": True}
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self._session.post(f"{replica.url}/api/v1/services/{name}/heal", json=body):
                    pass

    async def _pass_on(self, request: web.Request) -> web.Response:
        """Alertmanager's notification, to a daemon or, as of a pair, twice; what was answered 200 is remembered."""
        body = await request.read()
        status = 503
        for replica in self._rng.sample(self.replicas, len(self.replicas)):
            for _ in range(self._rng.choice((1, 1, 2))):
                try:
                    async with self._session.post(
                        f"{replica.url}/webhook", data=body, headers={"Content-Type": "application/json"}
                    ) as response:
                        status = response.status
                except (aiohttp.ClientError, OSError):
                    status = 503
                if status == 200:
                    # A daemon's own pages come back to it, and are not kept.
                    for alert in json.loads(body)["alerts"]:
                        if alert["labels"]["alertname"] == "Broken":
                            self._accepted[alert["fingerprint"], alert["startsAt"]] = alert["status"]
            if status == 200:
                break
        return web.Response(status=status)

    # The kills.

    async def _sweep(self) -> None:
        shared = len(self.replicas) > 1
        operations = [*OPERATIONS, *(SHARED_OPERATIONS if shared else ())]
        boundaries = [f"{operation}:{when}" for operation in operations for when in ("before", "after")]
        plans = itertools.cycle([*boundaries, *["random"] * (len(boundaries) // 2), *["sleep"] * (2 * shared)])
        await asyncio.gather(*(self._live_and_die(replica, plans) for replica in self.replicas))

    async def _live_and_die(self, replica: Replica, plans: Iterator[str]) -> None:
        longest = _LIFE if len(self.replicas) == 1 else _LIFE + TTL
        while self.report.kills < self.kills:
            plan = next(plans)
            if plan == "sleep":
                await replica.start()
                await asyncio.sleep(self._rng.uniform(1.0, longest))
                await self._put_to_sleep(replica)
                await asyncio.sleep(1.0)
            elif plan == "random":
                await replica.start()
                await asyncio.sleep(self._rng.uniform(0.0, longest))
            else:
                # A replica that follows renews no lease, and one that leads claims none: two that wait for these would wait
                # for each other, so that such a plan is given up after a while.
                of_lease = plan.partition(":")[0] in SHARED_OPERATIONS
                await replica.start(f"{plan}:{1 if of_lease else self._rng.randint(1, 3)}")
                ended = await replica.ends(_LEASE_WITHIN if of_lease else _BOUNDARY_WITHIN)
                if ended and replica.told.exists():
                    self.report.boundaries += 1
                    self.report.at_boundaries[plan] += 1
                elif ended or not of_lease:
                    self.report.boundaries += 1
                    what = "ended by itself" if ended else f"did not come to {plan} in {_BOUNDARY_WITHIN:g} s"
                    self.report.notes.append(f"a daemon {what}: see {replica.folder}/log")
            await replica.kill()
            self.report.kills += 1

    async def _put_to_sleep(self, victim: Replica) -> None:
        """Stop a replica for longer than its lease, and wake it up."""
        assert victim.process is not None
        victim.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(TTL + 1.0)
        victim.process.send_signal(signal.SIGCONT)

    async def _kill_all(self) -> None:
        for replica in self.replicas:
            await replica.kill()

    # The end.

    async def _come_to_rest(self, alertmanager: RealAlertmanager) -> None:
        self._breaking = False
        for replica in self.replicas:
            await replica.kill()
            await replica.start()
        deadline, unrest = time.monotonic() + _REST_WITHIN, ""
        while unrest := await self._unrest():
            if time.monotonic() > deadline:
                self.report.notes.append(f"does not come to rest: {unrest}")
                break
            self.world.mend(broken_for=_LEFT_TO_PEOPLE / 4)
            await asyncio.sleep(0.5)
        for replica in self.replicas:
            await replica.kill(signal.SIGTERM)

    async def _unrest(self) -> str:
        """What is not over yet; nothing when no service is broken, nothing is open or fires, and everything is told."""
        if broken := self.world.broken():
            return f"{', '.join(broken)} broken"
        if self._said:
            return f"the alerts of {', '.join(self._said)} fire"
        for replica in self.replicas:
            try:
                async with self._session.get(f"{replica.url}/api/v1/health") as response:
                    health = (await response.json())["data"]
                async with self._session.get(f"{replica.url}/api/v1/alerts?firing=true") as response:
                    firing = (await response.json())["data"]
                async with self._session.get(f"{replica.url}/metrics") as response:
                    metrics = await response.text()
            except (aiohttp.ClientError, OSError) as error:
                return f"{replica.url} does not answer: {error}"
            if health["incidentsOpen"] or firing:
                return f"{health['incidentsOpen']} incidents are open, these alerts fire: {firing}"
            if health["leads"] and 'remediator_announcer_lag_entries{announcer="grafana"} 0.0' not in metrics:
                return "Grafana has not been told everything"
            if health["pages"] or "remediator_pages_firing 0.0" not in metrics:
                return f"people are called: {health['pages']}"
        return ""

    async def _audit(self, storage: dict[str, str], alertmanager: RealAlertmanager) -> None:
        report, executions = self.report, self.world.executions()
        async with _opened(storage["url"]) as store:
            alerts = await store.alerts_since(0, limit=10_000_000)
            incidents = await store.incidents(limit=10_000_000)
        stored = {one.alert.key: one.alert for one in alerts}
        accepted = {(fingerprint, _seconds(at)): status for (fingerprint, at), status in self._accepted.items()}
        every = [run for incident in incidents for run in incident.runs]
        recorded = {(run.incident, run.action) for run in every}
        # Of the gathering of evidence Grafana is not told.
        runs = [run for run in every if run.step != DIAGNOSE]
        counted = Counter((incident, step) for incident, step, _, _ in executions)
        asked = Counter(one.annotations["comment"] for one in incidents if one.source is Source.OPERATOR)
        silences = await asyncio.to_thread(alertmanager.request, "/api/v2/silences")
        keys = Counter(
            tag
            for annotation in self.grafana.annotations.values()
            for tag in annotation["tags"]
            if tag.startswith("key:")
        )
        report.accepted, report.executions, report.incidents = len(accepted), len(executions), len(incidents)
        report.annotations = len(self.grafana.annotations)
        report.faults = {
            # An end ends what fires with its fingerprint, whatever start it is told with.
            "alerts accepted and lost": sum(
                key not in stored and not (status == "resolved" and key[0] in {known for known, _ in stored})
                for key, status in accepted.items()
            ),
            "ends of alerts accepted and lost": sum(
                status == "resolved" and key in stored and stored[key].firing for key, status in accepted.items()
            ),
            "alerts not settled": sum(
                one.disposition is None for one in alerts if one.alert.source is not Source.OPERATOR
            ),
            "steps executed twice": sum(count - 1 for count in counted.values()),
            "heals asked for once and done twice": sum(count - 1 for count in asked.values()),
            "steps executed and not recorded": len(set(counted) - recorded),
            "steps overlapping": sum(beside for *_, beside in executions),
            "incidents stuck": sum(incident.open for incident in incidents),
            "services left broken": len(self.world.broken()),
            "annotations lost": max(0, len(incidents) + len(runs) - len(keys)),
            "annotations doubled": sum(count - 1 for count in keys.values()),
            "silences left behind": sum(silence["status"]["state"] != "expired" for silence in silences),
        }


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    store: Store
    if url.startswith("sqlite"):
        store = await open_sqlite(url.removeprefix("sqlite:///"))
    else:
        store = await open_postgresql(url)
    try:
        yield store
    finally:
        await store.close()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
