"""Two real daemons on one PostgreSQL: one leads, another takes over, and no command runs twice or beside another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from real.postgresql import RealPostgresql
from real.prometheus import HANGS, Exposition, RealPrometheus, in_thread, until
from real.remediator import RealRemediator
from real.wire import Wire

TTL = 6.0
LONG = 60.0
"""A lease that does not run out while a test lasts."""
RULES = """
services:
  - name: shop
    target:
      command:
        restart: [sh, -c, '{witness} restart {takes}']
        rollback: [sh, -c, '{witness} rollback 0']
        {diagnose}
thresholds:
  - {{name: error_ratio, expr: shop_error_ratio, failed: '> 0.10'}}
runbooks:
  - name: shop
    steps: [{{restart: , timeout: 4s}}, rollback]
    verify: {{healthy_for: 1s, within: 10s}}
    limits: {{cooldown: 0s, relapse: 0s}}
"""
DIAGNOSE = "diagnose: {{run: [sh, -c, '{} diagnose {}'], timeout: 4s}}"
WITNESS = """#!/bin/sh
echo "begin $1 $(date +%s.%N)" >> {ran}
sleep $2
echo "end $1 $(date +%s.%N)" >> {ran}
"""
AN_HOUR_AHEAD = (
    "import time; real = time.time; time.time = lambda: real() + 3600.0; import sys; from remediator.cli import main;"
    " sys.exit(main())"
)


@dataclass
class Lab:
    """A shop, and two replicas, `a` and `b`, each with a wire of its own to the database."""

    shop: Exposition
    ran: Path
    replicas: dict[str, RealRemediator]
    wires: dict[str, Wire]
    server: RealPostgresql

    def breaks(self) -> None:
        self.shop.text = 'shop_error_ratio{service="shop"} 0.5'

    def recovers(self) -> None:
        self.shop.text = 'shop_error_ratio{service="shop"} 0'

    def witnessed(self, what: str) -> list[tuple[str, float]]:
        """When each command began, or ended, by its witness."""
        lines = self.ran.read_text().split("\n")[:-1] if self.ran.exists() else []
        return [(name, float(at)) for kind, name, at in (line.split() for line in lines) if kind == what]

    def begun(self) -> list[str]:
        return [name for name, _ in self.witnessed("begin")]

    def leads(self, name: str) -> bool:
        """Whether a replica says that it leads. Blocks."""
        try:
            return bool(self.replicas[name].request("/api/v1/health")["leads"])
        except OSError:
            return False

    def epoch(self) -> int:
        """The epoch of the one that leads, or 0 when nobody says that it does. Blocks."""
        for name in self.replicas:
            with contextlib.suppress(OSError):
                health = self.replicas[name].request("/api/v1/health")
                if health["leads"]:
                    return int(health["leader"]["epoch"])
        return 0


@contextlib.asynccontextmanager
async def laboratory(
    tmp_path: Path,
    *,
    takes: float = 0,
    diagnose: float = 0,
    ttl: float = TTL,
    program: tuple[str, ...] = (sys.executable, "-m", "remediator"),
) -> AsyncIterator[Lab]:
    """Everything, with the replicas there to be started. `program` is how `b` is called."""
    ran, witness = tmp_path / "ran", tmp_path / "witness"
    witness.write_text(WITNESS.format(ran=ran))
    witness.chmod(0o755)
    server = RealPostgresql()
    await asyncio.to_thread(server.__enter__)
    try:
        await in_thread(lambda: server.create("heal"))()
        async with (
            Exposition('shop_error_ratio{service="shop"} 0') as shop,
            RealPrometheus(tmp_path, targets=[shop.address]) as prometheus,
            Wire(server.port) as one,
            Wire(server.port) as two,
        ):
            wires, replicas = {"a": one, "b": two}, {}
            for name, wire in wires.items():
                url = f"postgresql://remediator@127.0.0.1:{wire.port}/heal"
                replicas[name] = RealRemediator(
                    tmp_path / name,
                    prometheus=prometheus.url,
                    rules=RULES.format(
                        witness=witness, takes=takes, diagnose=DIAGNOSE.format(witness, diagnose) if diagnose else ""
                    ),
                    config={"storage": {"url": url, "lease_ttl": f"{ttl:g}s"}},
                    program=program if name == "b" else (sys.executable, "-m", "remediator"),
                )
            await until(in_thread(lambda: prometheus.query("shop_error_ratio")))
            lab = Lab(shop, ran, replicas, wires, server)
            try:
                yield lab
            finally:
                for replica in replicas.values():
                    if replica.process is not None:
                        with contextlib.suppress(ProcessLookupError):
                            replica.process.send_signal(signal.SIGCONT)
                    replica.kill()
    except BaseException:
        for name in ("a", "b"):
            log = tmp_path / name / "remediator.log"
            sys.stderr.write(f"--- {name}\n{log.read_text()[-6000:] if log.exists() else ''}")
        raise
    finally:
        await asyncio.to_thread(server.close)


async def both(lab: Lab) -> None:
    """Start `a`, which leads then, and `b`, which follows."""
    await asyncio.to_thread(lab.replicas["a"].start)
    await asyncio.to_thread(lab.replicas["b"].start)
    assert await in_thread(lambda: lab.leads("a"))()
    assert not await in_thread(lambda: lab.leads("b"))()


async def test_every_replica_serves_and_one_leads(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab:
        await both(lab)
        a, b = lab.replicas["a"], lab.replicas["b"]
        name = f"127.0.0.1:{a.port}"
        ready = "remediator is ready.\n"
        assert await in_thread(lambda: a.text("/-/ready"))() == f"{ready}It leads.\n"
        assert await in_thread(lambda: b.text("/-/ready"))() == f"{ready}It follows {name}, which leads.\n"
        health = await in_thread(lambda: b.request("/api/v1/health"))()
        assert (health["leader"]["name"], health["leader"]["url"]) == (name, f"http://{name}")
        for replica, leads in ((a, "1.0"), (b, "0.0")):
            metrics = await in_thread(lambda replica=replica: replica.text("/metrics"))()
            assert f"remediator_leads {leads}\n" in metrics
            assert f'remediator_leader_info{{leader="{name}"}} 1.0\n' in metrics

        # What is asked of the one that follows is done by the one that leads.
        asked = await in_thread(lambda: b.request("/api/v1/services/shop/heal", {"author": "ada", "comment": "try"}))()
        assert "left to the one that leads" in asked["text"]
        await until(lambda: "restart" in lab.begun())
        (incident,) = await until(in_thread(b.closed))
        assert incident["verdict"] == "recovered"
        assert await in_thread(a.incidents)() == [incident]
        shown = await until(in_thread(lambda: b.request("/api/v1/services/shop")["health"] == "healthy"))
        assert shown

        # A sum over both counts each alert once: by who took it in, and by who decided on it.
        def counted(name: str) -> float:
            lines = f"{a.text('/metrics')}\n{b.text('/metrics')}".splitlines()
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

        accepted = await in_thread(lambda: counted("remediator_alerts_accepted_total"))()
        held = len(await in_thread(lambda: b.request("/api/v1/alerts"))())
        assert accepted == held == 1
        assert await until(in_thread(lambda: counted("remediator_alerts_total") == accepted))
        assert await in_thread(lambda: counted("remediator_alerts_undecided"))() == 0


async def test_a_leader_that_is_killed_is_followed_within_the_time_of_its_lease(tmp_path: Path) -> None:
    async with laboratory(tmp_path, takes=60) as lab:
        await both(lab)
        lab.breaks()
        await until(lambda: lab.begun() == ["restart"])
        await asyncio.to_thread(lab.replicas["a"].kill)
        await until(in_thread(lambda: lab.leads("b")))
        began = lab.witnessed("begin")[0][1]
        await until(lambda: lab.begun() == ["restart", "rollback"])
        # The step of the dead may be at work until its own time is over: 4 s, and what TERM and KILL take.
        assert lab.witnessed("begin")[1][1] - began > 4
        lab.recovers()
        (incident,) = await until(in_thread(lab.replicas["b"].closed))
        assert [run["outcome"] for run in incident["runs"]] == ["unknown", "succeeded"]
        assert incident["verdict"] == "recovered"


async def test_a_leader_that_wakes_up_again_does_nothing_any_more(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab:
        await both(lab)
        process = lab.replicas["a"].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        lab.breaks()
        await until(in_thread(lambda: lab.leads("b")))
        await until(lambda: "restart" in lab.begun())
        process.send_signal(signal.SIGCONT)
        await until(in_thread(lambda: not lab.leads("a")))
        await until(lambda: "rollback" in lab.begun())
        lab.recovers()
        (incident,) = await until(in_thread(lab.replicas["a"].closed))
        assert lab.begun() == ["restart", "rollback"]
        assert [run["outcome"] for run in incident["runs"]] == ["succeeded", "succeeded"]
        assert "leads no more" in lab.replicas["a"].log


async def test_a_leader_that_is_cut_off_ends_its_commands_before_another_runs_any(tmp_path: Path) -> None:
    async with laboratory(tmp_path, takes=60) as lab:
        await both(lab)
        lab.breaks()
        await until(lambda: lab.begun() == ["restart"])
        lab.wires["a"].cut()
        await until(in_thread(lambda: lab.leads("b")))
        assert "leads no more: its lease could not be renewed in time" in lab.replicas["a"].log
        await until(lambda: lab.begun() == ["restart", "rollback"])
        lab.wires["a"].mend()
        lab.recovers()
        (incident,) = await until(in_thread(lab.replicas["b"].closed))
        assert lab.begun() == ["restart", "rollback"]
        assert incident["verdict"] == "recovered"
        # It follows, and shows what the other did.
        assert await until(in_thread(lab.replicas["a"].closed)) == [incident]
        assert not await in_thread(lambda: lab.leads("a"))()


async def test_a_clock_that_is_an_hour_off_changes_nothing(tmp_path: Path) -> None:
    async with laboratory(tmp_path, takes=60, program=(sys.executable, "-c", AN_HOUR_AHEAD)) as lab:
        await both(lab)
        lab.breaks()
        await until(lambda: lab.begun() == ["restart"])
        began = lab.witnessed("begin")[0][1]
        await asyncio.to_thread(lab.replicas["a"].kill)
        await until(in_thread(lambda: lab.leads("b")))
        await until(lambda: lab.begun() == ["restart", "rollback"])
        assert lab.witnessed("begin")[1][1] - began > 4
        lab.recovers()
        (incident,) = await until(in_thread(lab.replicas["b"].closed))
        assert incident["verdict"] == "recovered"
        metrics = await in_thread(lambda: lab.replicas["b"].text("/metrics"))()
        times = [run["startedAt"] for run in incident["runs"]]
        assert times == sorted(times)
        assert "remediator_clock_skew_seconds" in metrics


async def test_a_hand_over_does_not_wait_for_the_lease_to_run_out(tmp_path: Path) -> None:
    async with laboratory(tmp_path, ttl=LONG) as lab:
        await both(lab)
        process = lab.replicas["a"].process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        # It has not waited for the lease to run out. How long it takes is for the benchmark to say.
        await until(in_thread(lambda: lab.leads("b")), within=LONG / 3)
        lab.breaks()
        await until(lambda: "restart" in lab.begun())
        assert await asyncio.to_thread(process.wait) == 0


async def test_a_hand_over_while_a_step_runs_repeats_nothing(tmp_path: Path) -> None:
    async with laboratory(tmp_path, takes=2, ttl=LONG) as lab:
        await both(lab)
        lab.breaks()
        await until(lambda: lab.begun() == ["restart"])
        await asyncio.to_thread(lab.replicas["a"].stop)
        await until(in_thread(lambda: lab.leads("b")), within=LONG / 3)
        await until(lambda: lab.begun() == ["restart", "rollback"])
        ((_, ended),) = lab.witnessed("end")[:1]
        assert ended < lab.witnessed("begin")[1][1]
        lab.recovers()
        await until(in_thread(lab.replicas["b"].closed))
        assert lab.begun() == ["restart", "rollback"]


async def test_without_a_database_nothing_is_run_and_all_goes_on_when_it_is_back(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab:
        await both(lab)
        await asyncio.to_thread(lab.server.kill)
        lab.breaks()
        webhook = {"version": "4", "status": "firing", "groupKey": "x", "alerts": []}
        for replica in lab.replicas.values():
            status = await in_thread(lambda replica=replica: status_of(replica, webhook))()
            assert status == 503
        await asyncio.sleep(TTL)
        assert lab.begun() == []
        await asyncio.to_thread(lab.server.start)
        await until(lambda: lab.begun() == ["restart", "rollback"])
        lab.recovers()
        leader = await until(in_thread(lambda: [one for one in ("a", "b") if lab.leads(one)]))
        assert len(leader) == 1
        (incident,) = await until(in_thread(lab.replicas[leader[0]].closed))
        assert incident["verdict"] == "recovered"


async def test_one_that_loses_its_lease_with_the_database_leads_again_when_that_is_back(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab:
        replica = lab.replicas["a"]
        await asyncio.to_thread(replica.start)
        await asyncio.to_thread(lab.server.kill)
        await until(in_thread(lambda: "Nobody leads" in replica.text("/-/ready")))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(lab.server.start)
        await until(in_thread(lambda: lab.leads("a")))
        lab.breaks()
        await until(lambda: lab.begun() == ["restart"])
        lab.recovers()
        await until(in_thread(replica.closed))


async def test_one_that_slept_too_long_to_renew_leaves_no_lease_behind(tmp_path: Path) -> None:
    ttl = 15.0
    async with laboratory(tmp_path, ttl=ttl) as lab:
        await both(lab)
        process = lab.replicas["a"].process
        assert process is not None
        before = await in_thread(lab.epoch)()
        # Longer than it may go without a renewal, and shorter than the lease: what it still sends must not prolong it.
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(ttl * 0.65)
        process.send_signal(signal.SIGCONT)
        # Had it prolonged the lease, nobody could lead before that is as old as the lease lasts.
        await until(in_thread(lambda: lab.epoch() > before), within=ttl * 0.85)


async def test_the_evidence_of_a_dead_leader_is_not_overlapped(tmp_path: Path) -> None:
    async with laboratory(tmp_path, diagnose=60) as lab:
        await both(lab)
        lab.breaks()
        await until(lambda: lab.begun() == ["diagnose"])
        process = lab.replicas["a"].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        await until(in_thread(lambda: lab.leads("b")))
        await until(lambda: "restart" in lab.begun())
        assert lab.begun()[:2] == ["diagnose", "restart"]
        assert lab.witnessed("begin")[1][1] - lab.witnessed("begin")[0][1] > 4


def status_of(replica: RealRemediator, body: object) -> int:
    """The status that one notification of one alert is answered with. Blocks."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "ErrorRatioHigh", "service": "shop"},
        "annotations": {},
        "startsAt": "2026-11-25T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "6b87cb3069843664",
    }
    document = {**(body if isinstance(body, dict) else {}), "alerts": [alert]}
    request = urllib.request.Request(
        replica.webhook, data=json.dumps(document).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=HANGS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
