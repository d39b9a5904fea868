"""An in-memory Grafana, for the real announcer to write annotations to in a simulation."""

from __future__ import annotations

from remediator.clients.grafana import Annotation, Grafana
from remediator.clients.http_options import HttpClient
from remediator.errors import RemoteError


class FakeGrafana(Grafana):
    """Keeps annotations by id, in the order of their creation. Sends no request."""

    def __init__(self) -> None:
        super().__init__(HttpClient("http://grafana.invalid"))
        self.annotations: dict[int, Annotation] = {}

    async def create(self, annotation: Annotation) -> int:
        id = len(self.annotations) + 1
        self.annotations[id] = annotation
        return id

    async def patch(self, id: int, annotation: Annotation) -> None:
        if id not in self.annotations:
            raise RemoteError(f"cannot change annotation {id}: there is none", retry=False, status=404)
        self.annotations[id] = annotation

    async def find(self, tag: str, at: float) -> list[int]:
        return [id for id, annotation in self.annotations.items() if tag in annotation.tags]

    async def delete(self, id: int) -> None:
        self.annotations.pop(id, None)
