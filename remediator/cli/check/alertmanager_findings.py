"""Checks a running Alertmanager: which firing alerts of remediator's receiver are sent to no person."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from remediator.cli.init.alertmanager_route import find_receiver
from remediator.clients.alertmanager import Alertmanagers, Member
from remediator.clients.http_options import HttpClient
from remediator.errors import RemoteError
from remediator.model.alert import Alert

if TYPE_CHECKING:
    from remediator.config.settings import Config

CHECKS = {
    "unpaged-alert": "a firing alert reaches no receiver of Alertmanager but remediator's",
    "no-receiver": "no receiver of Alertmanager posts to remediator, or no route leads to it",
}
"""The checks that need an Alertmanager, by name."""

_REMEDY = "give people's route what remediator's takes: `remediator init` prints such a route"


def ask_alertmanager(url: str, config: Config | None) -> tuple[list[tuple[str, str, str]], str]:
    """Returns findings (check, message, remedy), and why Alertmanager could not be asked (or "").

    The config's credentials and receiver are used if the address is one of the config's. Otherwise the receiver is
    found in Alertmanager's configuration.
    """
    for member in config.alertmanagers if config is not None else ():
        if member.url == url.rstrip("/"):
            return asyncio.run(_ask(member, member.receiver))
    receivers = {member.receiver for member in config.alertmanagers} if config is not None else set()
    return asyncio.run(_ask(HttpClient(url.rstrip("/")), receivers.pop() if len(receivers) == 1 else ""))


async def _ask(client: HttpClient, receiver: str) -> tuple[list[tuple[str, str, str]], str]:
    try:
        if not receiver:
            found = find_receiver(await _config(client))
            if found is None or not found.routed:
                why = "no receiver posts to remediator" if found is None else f"no route leads to {found.name}"
                message = (
                    f"{why} at Alertmanager {client.url}: alerts reach remediator only by comparison, once a minute"
                )
                return [("no-receiver", message, "`remediator init` prints what to add there")], ""
            receiver = found.name
        unpaged = await _unpaged(client, receiver)
    except RemoteError as error:
        return [], str(error)
    alerts: dict[str, int] = {}
    for alert in unpaged:
        alerts[alert.name] = alerts.get(alert.name, 0) + 1
    return [("unpaged-alert", _sentence(name, count, receiver), _REMEDY) for name, count in sorted(alerts.items())], ""


async def _config(client: HttpClient) -> str:
    alertmanagers = Alertmanagers([Member(client)])
    try:
        return await alertmanagers.config()
    finally:
        await alertmanagers.close()


async def _unpaged(client: HttpClient, receiver: str) -> tuple[Alert, ...]:
    alertmanagers = Alertmanagers([Member(client, receiver)])
    try:
        return (await alertmanagers.alerts()).unpaged
    finally:
        await alertmanagers.close()


def _sentence(name: str, count: int, receiver: str) -> str:
    times = "fires" if count == 1 else f"fires {count} times"
    return f"alert {name} {times} and reaches no receiver but {receiver}: no person is sent it"
