"""What people hear through Alertmanager: pages fire while they are true, and the alerts of a service are silenced while it
is being healed.

Both are states that Alertmanager is kept in, not messages: what there should be is compared with what there is, so a
restart, an outage and a lost answer need no memory to be made good for. A process that dies leaves pages that end four
minutes later, and silences that end at their own time, unless the next one sees to them before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from remediator.clients.alertmanager import Alertmanagers
from remediator.engine.broadcast import Broadcast
from remediator.errors import RemoteError
from remediator.metrics import Metrics
from remediator.model.clock import Backoff, Clock, retry, rfc3339, sleep
from remediator.model.matcher import Matcher
from remediator.model.paging import AUTHOR, HealSilence, PageAlert
from remediator.model.silence import Silence

_logger = logging.getLogger(__name__)

RESEND = 60.0
"""Seconds until a page that still fires is posted again, and a quarter of the time for which a post is good: as
Prometheus does (`--rules.alert.resend-delay`, `rules/manager.go` sendAlerts)."""
EVERY = 15.0
"""Seconds until the next look when nothing happens."""
_REST = 1.0
"""Seconds between looks, however much happens."""
_BACKOFF = Backoff(first=2.0, longest=60.0)

Key = tuple[tuple[str, str], ...]


class _Posted(NamedTuple):
    page: PageAlert
    at: float


class Pager:
    """Keeps Alertmanager in step with what `pages` and `heal_silences` return at each evaluation.

    `mark` tells our silences from those of another remediator at the same Alertmanager; it has to be the same after a
    restart. `external_url` is where people reach our pages.
    """

    def __init__(
        self,
        alertmanagers: Alertmanagers,
        *,
        pages: Callable[[], Sequence[PageAlert]],
        heal_silences: Callable[[], Sequence[HealSilence]],
        clock: Clock,
        metrics: Metrics,
        mark: str,
        committed: Broadcast | None = None,
        external_url: str = "",
    ) -> None:
        self._alertmanagers = alertmanagers
        self._pages = pages
        self._heal_silences = heal_silences
        self._clock = clock
        self._metrics = metrics
        self._mark = f"({mark})"
        self._external_url = external_url.rstrip("/")
        self._posted: dict[Key, _Posted] = {}
        self._may_have_silences = True
        """Whether silences of ours may be there: so it is after a start, until a look says otherwise."""
        self._committed = committed or Broadcast()

    async def run(self) -> None:
        """Bring Alertmanager in line again and again until cancelled, more rarely while it cannot be reached."""
        woken = asyncio.Event()
        with self._committed.following(woken.set):
            while True:
                woken.clear()
                await self._keep_trying()
                # What happens in quick succession is taken up at once.
                await sleep(self._clock, _REST)
                await self._clock.wait(woken, EVERY - _REST)

    async def _keep_trying(self) -> None:
        failed = False

        def on_failure(error: Exception, failures: int) -> None:
            nonlocal failed
            failed = True
            if failures == 1:
                _logger.error("cannot tell people, tries again: %s", error)

        await retry(self._clock, _BACKOFF, self.once, RemoteError, on_failure)
        if failed:
            _logger.info("Alertmanager takes what people are to hear again")

    async def once(self) -> None:
        """Bring Alertmanager in line. RemoteError when it could not be; what was done is not done again."""
        await self._keep_pages()
        await self._keep_heal_silences()

    async def _keep_pages(self) -> None:
        now = self._clock.now()
        wanted = {_key(page.labels): page for page in self._pages()}
        self._metrics.pages_firing.set(len(wanted))
        due = {
            key: page for key, page in wanted.items() if key not in self._posted or now - self._posted[key].at >= RESEND
        }
        over = {key: posted.page for key, posted in self._posted.items() if key not in wanted}
        if not due and not over:
            return
        alerts = [self._shape(page, now + 4 * RESEND) for page in due.values()]
        await self._alertmanagers.post([*alerts, *(self._shape(_over(page), now) for page in over.values())])
        self._posted |= {key: _Posted(page, now) for key, page in due.items()}
        for key in over:
            del self._posted[key]

    async def _keep_heal_silences(self) -> None:
        now = self._clock.now()
        wanted = {
            _key(heal_silence.labels): heal_silence
            for heal_silence in self._heal_silences()
            if heal_silence.ends_at > now
        }
        if not wanted and not self._may_have_silences:
            return
        self._may_have_silences = True
        ours: dict[Key, list[Silence]] = {}
        for silence in await self._alertmanagers.silences():
            if silence.author == AUTHOR and silence.comment.endswith(self._mark):
                ours.setdefault(_labels(silence.matchers), []).append(silence)
        for key, silences in ours.items():
            # A creation whose answer was lost may have been carried out twice.
            for silence in silences if key not in wanted else silences[1:]:
                await self._alertmanagers.expire(silence.id)
        for key, heal_silence in wanted.items():
            if key not in ours:
                comment = f"incident {heal_silence.incident} is being healed {self._mark}"
                await self._alertmanagers.silence(heal_silence.labels, now, heal_silence.ends_at, AUTHOR, comment)
        self._may_have_silences = bool(wanted)

    def _shape(self, page: PageAlert, ends_at: float) -> Mapping[str, Any]:
        link = f"{self._external_url}{page.path}" if self._external_url else ""
        return {
            "labels": page.labels,
            "annotations": {**page.annotations, **({"link": link} if link else {})},
            "startsAt": rfc3339(min(page.starts_at, ends_at)),
            "endsAt": rfc3339(ends_at),
            **({"generatorURL": link} if link else {}),
        }


def _over(page: PageAlert) -> PageAlert:
    """A page as it is posted when it is over: what it said while it fired is not true any more."""
    if not page.resolved or "summary" not in page.annotations:
        return page
    return msgspec.structs.replace(page, annotations={**page.annotations, "summary": page.resolved})


def _key(labels: Mapping[str, str]) -> Key:
    """A label set by which it can be found; labels that are empty are labels that are not there."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _labels(matchers: Sequence[Matcher]) -> Key:
    return tuple(sorted((matcher.name, matcher.value) for matcher in matchers))
