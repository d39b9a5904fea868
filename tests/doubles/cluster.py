"""As much of Kubernetes' API as `kubectl get` asks: which kinds there are, one object, and a list by fields or labels."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

KINDS = {
    "deployments": ("apps/v1", "Deployment"),
    "statefulsets": ("apps/v1", "StatefulSet"),
    "daemonsets": ("apps/v1", "DaemonSet"),
    "applications": ("argoproj.io/v1alpha1", "Application"),
    "kustomizations": ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    "helmreleases": ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
}


class Cluster:
    """A cluster that knows `kinds` (plurals), with these objects; `address` is its URL. `forbidden` are kinds nobody may get."""

    def __init__(
        self, objects: Iterable[Mapping[str, Any]], kinds: Iterable[str] = KINDS, forbidden: Iterable[str] = ()
    ) -> None:
        self._objects, self._kinds, self._forbidden = list(objects), set(kinds), set(forbidden)
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, found = answer(self.path)
                body = json.dumps(found).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def write_config(self, folder: Path) -> None:
        """Make it the cluster of whoever has this folder as HOME."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here"}}],
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self._server.server_address[1]}"}}],
        }
        (folder / ".kube").mkdir()
        (folder / ".kube" / "config").write_text(json.dumps(config))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        groups = {version: version.partition("/")[0] for version, _ in map(KINDS.__getitem__, self._kinds)}
        match url.path.strip("/").split("/"):
            case ["api"]:
                return 200, {"kind": "APIVersions", "versions": ["v1"]}
            case ["api", "v1"]:
                return 200, {"kind": "APIResourceList", "groupVersion": "v1", "resources": []}
            case ["apis"]:
                listed = [
                    {
                        "name": group,
                        "versions": [{"groupVersion": version, "version": version.partition("/")[2]}],
                        "preferredVersion": {"groupVersion": version, "version": version.partition("/")[2]},
                    }
                    for version, group in groups.items()
                ]
                return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
            case ["apis", group, version]:
                resources = [
                    {
                        "name": name,
                        "singularName": kind.lower(),
                        "namespaced": True,
                        "kind": kind,
                        "verbs": ["get", "list"],
                    }
                    for name, (of, kind) in KINDS.items()
                    if name in self._kinds and of == f"{group}/{version}"
                ]
                return 200, {"kind": "APIResourceList", "groupVersion": f"{group}/{version}", "resources": resources}
            case ["apis", _, _, kind] | ["apis", _, _, "namespaces", _, kind] if kind in self._forbidden:
                return 403, _status(403, "Forbidden", f"{kind} is forbidden")
            case ["apis", _, _, "namespaces", namespace, kind]:
                return 200, self._listed(kind, query, namespace)
            case ["apis", _, _, kind]:
                return 200, self._listed(kind, query)
            case ["apis", _, _, "namespaces", namespace, kind, name]:
                found = self._listed(kind, {"fieldSelector": f"metadata.name={name}"}, namespace)["items"]
                return (200, found[0]) if found else (404, _status(404, "NotFound", f'{kind} "{name}" not found'))
        return 404, _status(404, "NotFound", f"there is no {path}")

    def _listed(self, kind: str, query: Mapping[str, str], namespace: str = "") -> dict[str, Any]:
        version, name = KINDS[kind]
        _, _, named = query.get("fieldSelector", "").partition("metadata.name=")
        label, _, value = query.get("labelSelector", "").partition("=")
        items = [
            {"apiVersion": version, **thing}
            for thing in self._objects
            if thing["kind"] == name
            and (not namespace or thing["metadata"]["namespace"] == namespace)
            and (not named or thing["metadata"]["name"] == named)
            and (not label or thing["metadata"].get("labels", {}).get(label) == value)
        ]
        return {"kind": f"{name}List", "apiVersion": version, "metadata": {}, "items": items}


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code,
    }  # fmt: skip
