"""A name is one thing: by the real programs, exactly the named thing is touched, or nothing is.

Each test has two things, `web` and `other`, and asks for the restart of names that a program may read as several things, as
a pattern, as an option, or as another name.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from real.docker import IMAGE, RealDocker
from real.haproxy import RealHaproxy
from real.kubernetes import RealKubernetes
from real.prometheus import free_port, in_thread, part, until
from real.runit import RealRunit
from real.supervisor import RealSupervisor
from real.systemd import RealSystemd

from remediator.model.action import Outcome, Result
from remediator.rules.loader import shipped_targets

Do = Callable[..., Awaitable[Result]]

HOSTILE = [
    "",
    "ungrouped",
    " ",
    "web other",
    " web",
    "web ",
    "web\tother",
    "web,other",
    "web;other",
    "web|other",
    "web:",
    ":web",
    "web:*",
    "web:other",
    "web:web:",
    "web\nother",
    "web\n",
    "\nweb",
    "-web",
    "--all",
    "--help",
    "*",
    "we*",
    "w?b",
    "[w]eb",
    "{web,other}",
    "all",
    "ALL",
    "@web",
    "@/etc/hostname",
    "!other",
    "&web",
    "~web",
    "~w.*",
    "web&other",
    "we",
    "w",
    "WEB",
    "web.",
    ".",
    "..",
    "./web",
    "../service/web",
    "/web",
    "web/",
    "web/other",
    "web=1",
    "web%",
    "w\u0435b",
    "\uff57\uff45\uff42",
    "web\u200b",
    "\u202ebew",
    "we\u0301b",
    "$(touch x)",
    "`touch x`",
    "'web'",
    '"web"',
    "we\\b",
    "#web",
    "web #",
]


async def nothing_else(
    do: Do, target: str, param: str, names: list[str], seen: Callable[[], dict[str, str]], **params: str
) -> None:
    """Restart by each of the names: what is seen of the things is as before."""
    before = seen()
    assert before
    for name in names:
        text = f"{{% raw %}}{name}{{% endraw %}}" if name else ""
        result = await do(target, "restart", **{param: text}, **params)
        # A selector that nothing carries is no failure to kubectl.
        assert result.outcome is not Outcome.SUCCEEDED or name in before or target == "helm", f"{name!r}: {result}"
        # What is refused has started nothing.
        assert result.outcome is Outcome.REFUSED or seen() == before, f"{name!r} touched something: {result}"
    assert seen() == before


@pytest.fixture(scope="module")
def docker() -> Iterator[RealDocker]:
    with RealDocker() as running:
        yield running


def started(docker: RealDocker) -> dict[str, str]:
    lines = docker.run("ps", "-aq").split()
    told = docker.run("inspect", "--format", "{{ .Name }} {{ .State.StartedAt }} {{ .State.Status }}", *lines)
    return dict(line.removeprefix("/").split(" ", 1) for line in told.splitlines())


async def test_docker(do: Do, docker: RealDocker) -> None:
    assert (await do("docker", "probe", host=docker.host)).outcome is Outcome.SUCCEEDED
    ids = {}
    for name in ("web", "other"):
        ids[name] = docker.run("run", "-d", "--network=none", f"--name={name}", IMAGE)
    prefixes = [ids["web"][:length] for length in (2, 4, 12, 63)]
    await nothing_else(do, "docker", "container", [*HOSTILE, *prefixes], lambda: started(docker), host=docker.host)

    # The end of another's name, and a name that is the beginning of an id, are names of their own.
    docker.run("run", "-d", "--network=none", f"--name={ids['web'][:6]}", IMAGE)
    before = started(docker)
    result = await do("docker", "restart", container=ids["web"][:6], host=docker.host)
    assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, f"{ids['web'][:6]}\n")
    assert {name for name, state in started(docker).items() if state != before[name]} == {ids["web"][:6]}
    assert (await do("docker", "stop", container=ids["other"], host=docker.host)).outcome is Outcome.SUCCEEDED
    assert started(docker)["other"].endswith("exited")
    docker.run("rm", "-f", "web", "other", ids["web"][:6])


async def test_compose(do: Do, docker: RealDocker, tmp_path: Path) -> None:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    command = "docker compose" if plugin else part("docker-compose", "docker-compose")
    file = tmp_path / "compose.yml"
    file.write_text(
        f"version: '2.4'\nservices:\n  web: {{image: '{IMAGE}', network_mode: none}}\n"
        f"  other: {{image: '{IMAGE}', network_mode: none}}\n"
    )
    params = {"file": str(file), "project": "names", "host": docker.host, "command": command}
    for service in ("web", "other"):
        assert (await do("compose", "up", service=service, **params)).outcome is Outcome.SUCCEEDED
    assert (await do("compose", "probe", **params)).outcome is Outcome.SUCCEEDED
    await nothing_else(do, "compose", "service", HOSTILE, lambda: started(docker), **params)


@pytest.fixture
def swarm(docker: RealDocker) -> Iterator[RealDocker]:
    docker.run(
        "swarm", "init", f"--listen-addr=127.0.0.1:{free_port()}", "--advertise-addr=127.0.0.1",
        "--data-path-addr=127.0.0.1",
    )  # fmt: skip
    for name in ("web", "other"):
        docker.run(
            "service", "create", "--quiet", "--no-resolve-image", "--stop-grace-period=1s", f"--name={name}", IMAGE
        )
    yield docker
    docker.run("swarm", "leave", "--force")


async def test_swarm(do: Do, swarm: RealDocker) -> None:
    def forced() -> dict[str, str]:
        form = "{{ .Spec.Name }} {{ .Spec.TaskTemplate.ForceUpdate }} {{ .Spec.Mode.Replicated.Replicas }}"
        told = swarm.run("service", "inspect", "--format", form, "web", "other")
        return dict(line.split(" ", 1) for line in told.splitlines())

    assert (await do("swarm", "probe", host=swarm.host)).outcome is Outcome.SUCCEEDED
    id = swarm.run("service", "inspect", "--format", "{{ .ID }}", "web")
    await nothing_else(do, "swarm", "service", [*HOSTILE, id[:3], id[:12]], forced, host=swarm.host)
    before = forced()
    for action, args in (("scale", {"to": 2}), ("rollback", {})):
        for name in (id[:3], "we", "web=5 other", "*"):
            result = await do("swarm", action, args, host=swarm.host, service=name)
            assert result.outcome in (Outcome.FAILED, Outcome.REFUSED), result
    assert forced() == before
    assert (await do("swarm", "restart", host=swarm.host, service=id)).outcome is Outcome.SUCCEEDED
    assert {name for name, state in forced().items() if state != before[name]} == {"web"}


async def test_systemd(do: Do, tmp_path: Path) -> None:
    unit = "[Service]\nExecStart=sleep infinity\n"
    units = {"web.service": unit, "other.service": unit, "web@.service": unit, "sys-web.service": unit}
    with RealSystemd(tmp_path, units) as systemd:

        def pids() -> dict[str, str]:
            names = ("web.service", "other.service", "web@1.service", "sys-web.service")
            return {
                name: systemd.inside("systemctl", "show", "--value", "--property=InvocationID", name) for name in names
            }

        for name in pids():
            systemd.inside("systemctl", "start", name)
        # systemctl adds .service to a name without it: that is the thing of this name.
        names = [name for name in HOSTILE if name != "web"]
        await nothing_else(do, "systemd", "unit", names, pids, enter=systemd.enter)
        suffixed = [f"{name}.service" for name in names if name not in ("", "web")]
        more = ["sys/web.service", "/sys/web.service", "web.service other.service", "w*.service", "web@*.service"]
        await nothing_else(do, "systemd", "unit", [*suffixed, *more], pids, enter=systemd.enter)
        assert (await do("systemd", "probe", enter=systemd.enter)).outcome is Outcome.SUCCEEDED
        before = pids()
        assert (await do("systemd", "restart", enter=systemd.enter, unit="web@1.service")).outcome is Outcome.SUCCEEDED
        assert {name for name, pid in pids().items() if pid != before[name]} == {"web@1.service"}


async def test_runit(do: Do, tmp_path: Path) -> None:
    strange = "web @1:2,3"
    with RealRunit(tmp_path / "service", dict.fromkeys(("web", "other", strange), "exec sleep infinity")) as runit:

        def pids() -> dict[str, str]:
            return {name: str(runit.pid(name)) for name in ("web", "other", strange)}

        await nothing_else(do, "runit", "name", HOSTILE, pids, dir=str(runit.folder))
        before = pids()
        # Of runit's own names anything may be one that is no path.
        assert (await do("runit", "restart", dir=str(runit.folder), name=strange)).outcome is Outcome.SUCCEEDED
        await until(lambda: pids()[strange] not in (before[strange], "0"))
        assert {name for name, pid in pids().items() if pid != before[name]} == {strange}


async def test_supervisor(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RealSupervisor(tmp_path, {"web": "sleep infinity", "other": "sleep infinity"}) as supervisor:
        monkeypatch.setenv("PATH", str(supervisor.bin), prepend=":")

        def pids() -> dict[str, str]:
            return {name: str(supervisor.pid(name)) for name in ("web", "other")}

        await nothing_else(do, "supervisor", "program", HOSTILE, pids, config=str(supervisor.config))
        before = pids()
        result = await do("supervisor", "restart", config=str(supervisor.config), program="web:web")
        assert result.outcome is Outcome.SUCCEEDED
        assert {name for name, pid in pids().items() if pid != before[name]} == {"web"}


async def test_haproxy(do: Do, tmp_path: Path) -> None:
    with RealHaproxy(tmp_path) as haproxy:
        await until(in_thread(lambda: haproxy.status() == 200))
        given = {"backend": "web", "server": "web1", "socket": str(haproxy.socket)}
        for name in [
            *HOSTILE,
            "#1",
            "web1 state maint",
            "web1; disable server web/web1",
            "web1\ndisable server web/web1",
        ]:
            for param in ("server", "backend"):
                text = f"{{% raw %}}{name}{{% endraw %}}" if name else ""
                if param == "server" or name != "web":
                    result = await do("haproxy", "circuit_break", **{**given, param: text})
                    assert result.outcome in (Outcome.FAILED, Outcome.REFUSED), f"{name!r}: {result}"
        assert haproxy.status() == 200


PLAYBOOK = """
- hosts: all
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: /usr/bin/python3}
  tasks:
    - ansible.builtin.copy: {dest: "%s/told-{{ inventory_hostname }}", content: x}
"""


async def test_ansible(do: Do, tmp_path: Path) -> None:
    part("ansible-playbook", "ansible-core")
    playbook, inventory = tmp_path / "heal.yml", tmp_path / "hosts"
    playbook.write_text(PLAYBOOK % tmp_path)
    inventory.write_text("web\nother\n")
    given = {"playbook": str(playbook), "inventory": str(inventory)}

    def told() -> set[str]:
        return {file.name for file in tmp_path.glob("told-*")}

    for name in HOSTILE:
        text = f"{{% raw %}}{name}{{% endraw %}}" if name else "{{ labels.service[3:] }}"
        result = await do("ansible", "restart", **given, limit=text)
        assert result.outcome in (Outcome.FAILED, Outcome.REFUSED), f"{name!r}: {result}"
    assert told() == set()
    assert (await do("ansible", "restart", **given, limit="web")).outcome is Outcome.SUCCEEDED
    assert told() == {"told-web"}
    # A pattern is for those who write it.
    assert (await do("ansible", "restart", **given, pattern="all:!web")).outcome is Outcome.SUCCEEDED
    assert told() == {"told-web", "told-other"}


DEPLOYMENTS = "".join(
    f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: default, labels: {{app.kubernetes.io/instance: {name}}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: main, image: '{name}:ok'}}]}}
---
"""
    for name in ("web", "other")
)


async def test_kubernetes(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RealKubernetes(tmp_path) as cluster:
        cluster.apply(DEPLOYMENTS)
        (tmp_path / ".kube").mkdir()
        shutil.copy(cluster.kubeconfig, tmp_path / ".kube" / "config")
        monkeypatch.setenv("HOME", str(tmp_path))

        def generations() -> dict[str, str]:
            found = cluster.get("deployments", "--namespace=default")["items"]
            return {one["metadata"]["name"]: str(one["metadata"]["generation"]) for one in found}

        names = [name for name in HOSTILE if name]
        await nothing_else(do, "kubernetes", "deployment", names, generations, namespace="default")
        workloads = ["deployment", "deployment/", "deployment/web/other", "deployment,statefulset/web", "all", "/web"]
        await nothing_else(do, "kubernetes", "workload", workloads, generations, namespace="default")
        others = ["*", "--all-namespaces", "default other", "kube-system"]
        await nothing_else(do, "kubernetes", "namespace", others, generations, deployment="web")
        await nothing_else(do, "helm", "release", names, generations, namespace="default")
        for target, params in (("kubernetes", {"deployment": "web"}), ("helm", {})):
            reached = await do(target, "probe", namespace="default", **params)
            assert reached.outcome is Outcome.SUCCEEDED, reached
        before = generations()
        result = await do("kubernetes", "restart", deployment="web", namespace="default")
        assert result.outcome is Outcome.SUCCEEDED, result
        assert {name for name, one in generations().items() if one != before[name]} == {"web"}


def test_every_shipped_target_is_tried() -> None:
    tried = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    # Nomad is tried in test_nomad; helm with kubernetes; and a target of commands names nothing by itself.
    assert shipped_targets().keys() - tried == {"nomad", "helm", "command"}
