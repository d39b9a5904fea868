"""A target that cannot be reached says so by its probe, and one that can be reached does not."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from real.haproxy import RealHaproxy
from real.prometheus import free_port, in_thread, part, until
from real.runit import RealRunit
from real.supervisor import RealSupervisor

from remediator.model.action import Outcome, Result
from remediator.rules.loader import shipped_targets

Do = Callable[..., Awaitable[Result]]


def test_every_shipped_target_has_a_probe() -> None:
    without = {name for name, target in shipped_targets().items() if "probe" not in target.actions}
    assert without == {"command"}


async def test_daemons_that_are_away(do: Do, tmp_path: Path) -> None:
    part("docker", "docker.io")
    part("socat", "socat")
    nowhere = f"unix://{tmp_path}/none.sock"
    assert (await do("docker", "probe", host=nowhere)).outcome is Outcome.FAILED
    assert (await do("swarm", "probe", host=nowhere)).outcome is Outcome.FAILED
    assert (await do("haproxy", "probe", backend="web", socket=f"{tmp_path}/none.sock")).outcome is Outcome.FAILED
    assert (await do("runit", "probe", dir=f"{tmp_path}/none")).outcome is Outcome.FAILED


async def test_a_host_that_is_down(do: Do) -> None:
    for target in ("systemd", "runit", "supervisor"):
        result = await do(target, "probe", host=f"ssh://nobody@127.0.0.1:{free_port()}")
        assert (result.outcome, result.exit_code) == (Outcome.FAILED, 255), result
        assert "Connection refused" in result.output


async def test_supervisor(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RealSupervisor(tmp_path, {"web": "sleep infinity"}) as supervisor:
        monkeypatch.setenv("PATH", str(supervisor.bin), prepend=":")
        config = str(supervisor.config)
        assert (await do("supervisor", "probe", config=config)).outcome is Outcome.SUCCEEDED
        # That its program does not run is no reason not to start it.
        supervisor.ctl("stop", "web")
        assert (await do("supervisor", "probe", config=config)).outcome is Outcome.SUCCEEDED
    assert (await do("supervisor", "probe", config=config)).outcome is Outcome.FAILED


async def test_runit(do: Do, tmp_path: Path) -> None:
    with RealRunit(tmp_path / "service", {"web": "exec sleep infinity"}) as runit:
        assert (await do("runit", "probe", dir=str(runit.folder))).outcome is Outcome.SUCCEEDED


async def test_haproxy(do: Do, tmp_path: Path) -> None:
    with RealHaproxy(tmp_path) as haproxy:
        await until(in_thread(lambda: haproxy.status() == 200))
        result = await do("haproxy", "probe", backend="web", socket=str(haproxy.socket))
        assert result.outcome is Outcome.SUCCEEDED, result


async def test_a_cluster_that_is_away(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client")
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: here, contexts: [{name: here, context: {cluster: none}}],"
        " clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]}"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for target, params in (("kubernetes", {"deployment": "web"}), ("helm", {})):
        result = await do(target, "probe", **params)
        assert result.outcome is Outcome.FAILED, result
        assert "The connection to the server 127.0.0.1:1 was refused" in result.output
