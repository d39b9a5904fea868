"""The Alertmanager client: alerts, silences and the configuration are read, alerts posted, silences set and expired.

Follows Alertmanager's API v2 (`api/v2/openapi.yaml`), from 0.25 on. Several Alertmanagers are one cluster: silences are
gossiped within it and may be set at any member, alerts are not and go to every one. It knows nothing of incidents.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from remediator.clients.http_options import HttpClient
from remediator.clients.json_client import TIMEOUT, JsonClient
from remediator.errors import RemoteError
from remediator.model.alert import Alert, milliseconds
from remediator.model.clock import rfc3339
from remediator.model.matcher import Matcher
from remediator.model.regex import RegexError, compile_regex
from remediator.model.silence import Silence, Suppression

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_BYTES = 64 * 1024 * 1024
"""How much of an answer is read: ten thousand alerts are about 10 MiB."""


class Member(NamedTuple):
    """One Alertmanager of the cluster, and the name of the receiver there whose alerts are wanted; empty for all."""

    settings: HttpClient
    receiver: str = ""


class Snapshot(NamedTuple):
    """The alerts that fire by one member's word, silenced and inhibited ones too, and since when that member is up.

    `unpaged` are those that no receiver but the given one gets, so that no person is sent them. `suppressed` goes by
    fingerprint. `unprocessed` are the fingerprints of those that Alertmanager has not routed yet.
    """

    alerts: tuple[Alert, ...]
    up_since: float
    unpaged: tuple[Alert, ...] = ()
    suppressed: Mapping[str, Suppression] = {}
    unprocessed: frozenset[str] = frozenset()


class Alertmanagers:
    """The members of one cluster. Every method raises RemoteError when no member did what was asked. `counted` is
    called for every request with its purpose and whether it was `done`."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        timeout: float = TIMEOUT,
        counted: Callable[[str, bool], None] = lambda operation, done: None,
    ) -> None:
        self._members = [
            (JsonClient(member.settings, "Alertmanager", timeout=timeout, most=_MOST_BYTES), member.receiver)
            for member in members
        ]
        self._counted = counted
        self._unreadable: set[str] = set()

    @property
    def receivers(self) -> frozenset[str]:
        """The names of the receivers whose alerts are wanted; none for all."""
        return frozenset(receiver for _, receiver in self._members if receiver)

    async def alerts(self) -> Snapshot:
        """What fires now."""

        async def read(member: JsonClient, receiver: str) -> Snapshot:
            query = [("receiver", re.escape(receiver))] if receiver else []
            if receiver:
                # Of a receiver that is not there nothing fires, and everything would seem to be over.
                names = [
                    one.name
                    for one in await member.ask("read the receivers", "GET", "api/v2/receivers", list[_Receiver])
                ]
                if receiver not in names:
                    message = (
                        f"it has no receiver {receiver!r}; it has {', '.join(names)} (check receiver: in the config)"
                    )
                    raise RemoteError(f"cannot read the alerts at {member.shown}: {message}", retry=True)
            status = await member.ask("read the status", "GET", "api/v2/status", _Status)
            found = await member.ask("read the alerts", "GET", "api/v2/alerts", list[_ApiAlert], query=query)
            wanted = [one for one in found if not receiver or any(r.name == receiver for r in one.receivers)]
            alone = (one for one in wanted if receiver and all(r.name == receiver for r in one.receivers))
            known = {one.fingerprint: one.labels.get("alertname", one.fingerprint) for one in found}
            return Snapshot(
                tuple(map(_alert, wanted)),
                status.uptime.timestamp(),
                tuple(map(_alert, alone)),
                {one.fingerprint: one.status.suppression(known) for one in wanted if one.status.state == "suppressed"},
                frozenset(one.fingerprint for one in wanted if one.status.state == "unprocessed"),
            )

        return await self._any("alerts", read)

    async def config(self) -> str:
        """The configuration as it runs, in YAML, with its secrets hidden."""

        async def read(member: JsonClient, _: str) -> str:
            return (await member.ask("read the configuration", "GET", "api/v2/status", _Running)).config.original

        return await self._any("config", read)

    async def silences(self) -> list[Silence]:
        """The silences that are in force or will be."""

        async def read(member: JsonClient, _: str) -> list[Silence]:
            found = await member.ask("read the silences", "GET", "api/v2/silences", list[_Silence])
            return [self._silence(one) for one in found if one.status.state != "expired"]

        return await self._any("silences", read)

    async def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Hand in alerts, in the shape of the API. Done when a member took them; the others are only logged."""

        async def write(member: JsonClient, _: str) -> RemoteError | None:
            try:
                await member.ask("post alerts", "POST", "api/v2/alerts", NoneType, body=list(alerts))
            except RemoteError as error:
                return error
            return None

        answers = await asyncio.gather(*(write(*member) for member in self._members))
        for answer in answers:
            self._counted("post", answer is None)
        failures = [answer for answer in answers if answer is not None]
        if failures and len(failures) == len(answers):
            raise failures[0]
        for failure in failures:
            log.warning("%s", failure)

    async def silence(
        self, labels: Mapping[str, str], starts_at: float, ends_at: float, author: str, comment: str
    ) -> str:
        """Silence exactly these labels; the new silence's id. After a failure it may be there all the same."""
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in sorted(labels.items())
                if value
            ],
            "startsAt": rfc3339(starts_at),
            "endsAt": rfc3339(ends_at),
            "createdBy": author,
            "comment": comment,
        }

        async def write(member: JsonClient, _: str) -> str:
            return (await member.ask("set a silence", "POST", "api/v2/silences", _Created, body=body)).id

        return await self._any("silence", write)

    async def expire(self, id: str) -> None:
        """End a silence now. One that is not there, or has ended, is what was wanted."""

        async def write(member: JsonClient, _: str) -> None:
            await member.ask("expire a silence", "DELETE", f"api/v2/silence/{id}", NoneType)

        try:
            await self._any("expire", write)
        except RemoteError:
            # Depending on its version it answers 404 or 500 when there is nothing to expire.
            if any(silence.id == id for silence in await self.silences()):
                raise

    async def close(self) -> None:
        """Let go of the connections."""
        await asyncio.gather(*(member.close() for member, _ in self._members))

    async def _any(self, operation: str, ask: Callable[[JsonClient, str], Awaitable[T]]) -> T:
        """The answer of the first member that gives one. The one that did is asked first the next time."""
        failure: RemoteError | None = None
        for member in list(self._members):
            try:
                answer = await ask(*member)
            except RemoteError as error:
                self._counted(operation, False)
                failure = failure or error
                # The others come first from now on.
                self._members.remove(member)
                self._members.append(member)
            else:
                self._counted(operation, True)
                return answer
        raise failure or RemoteError("cannot ask Alertmanager: the config names none", retry=False)

    def _silence(self, given: _Silence) -> Silence:
        """A silence in our terms. A matcher whose regular expression cannot be read matches everything."""
        matchers = tuple(map(_matcher, given.matchers))
        try:
            for matcher in given.matchers:
                if matcher.is_regex:
                    compile_regex(matcher.value)
        except RegexError as error:
            if given.id not in self._unreadable:
                self._unreadable.add(given.id)
                log.warning("takes a matcher of silence %s of Alertmanager to match: %s", given.id, error)
        starts_at, ends_at = given.starts_at.timestamp(), given.ends_at.timestamp()
        return Silence(given.id, matchers, starts_at, ends_at, given.created_by, given.comment)


_Time = Annotated[datetime, Meta(tz=True)]


class _Status(msgspec.Struct):
    uptime: _Time


class _Original(msgspec.Struct):
    original: str


class _Running(msgspec.Struct):
    config: _Original


class _Receiver(msgspec.Struct):
    name: str


class _AlertStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    state: str = ""
    silenced_by: list[str] | None = None
    inhibited_by: list[str] | None = None
    muted_by: list[str] | None = None
    """From 0.28 on."""

    def suppression(self, names: Mapping[str, str]) -> Suppression:
        """The same with the names of inhibiting alerts, as far as they are known by their fingerprints."""
        inhibiting = tuple(dict.fromkeys(names.get(one, f"alert {one}") for one in self.inhibited_by or ()))
        return Suppression(tuple(self.silenced_by or ()), inhibiting, tuple(self.muted_by or ()))


class _ApiAlert(msgspec.Struct, rename="camel", gc=False):
    labels: dict[str, str]
    starts_at: _Time
    fingerprint: str
    status: _AlertStatus = _AlertStatus()
    annotations: dict[str, str] = {}
    receivers: list[_Receiver] = []
    generator_url: str = msgspec.field(default="", name="generatorURL")


class _Matcher(msgspec.Struct, rename="camel"):
    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


class _State(msgspec.Struct):
    state: str


class _Silence(msgspec.Struct, rename="camel"):
    id: str
    status: _State
    matchers: list[_Matcher]
    starts_at: _Time
    ends_at: _Time
    created_by: str = ""
    comment: str = ""


class _Created(msgspec.Struct):
    id: str = msgspec.field(name="silenceID")


def _alert(given: _ApiAlert) -> Alert:
    return Alert(
        given.fingerprint,
        milliseconds(given.starts_at),
        None,
        given.labels,
        given.annotations,
        generator_url=given.generator_url,
    )


def _matcher(given: _Matcher) -> Matcher:
    op = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}[
        given.is_equal, given.is_regex
    ]
    return Matcher(given.name, op, given.value)
