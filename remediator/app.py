"""The program: every part made and joined in one straight line, taken apart in reverse, and reloaded as a whole.

Nothing is decided here. Who knows whom: the receiver and the evaluator know an intake; the engine knows the store, the
docket and its hands; announcers know the journal. A commit rings the bell, and whoever follows the journal looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import msgspec
from aiohttp import web

from remediator import __version__
from remediator.actions.runner import Runner
from remediator.alert import Notification, Source
from remediator.alertmanager import Alertmanagers, Member
from remediator.announce import Announcer, Follower
from remediator.announce.alertmanager import Pager
from remediator.announce.grafana import GrafanaAnnouncer
from remediator.announce.log import LogAnnouncer
from remediator.announce.metrics import MetricsAnnouncer, follow_health
from remediator.clock import Clock, SystemClock
from remediator.config import Config
from remediator.docket import Docket
from remediator.engine import Engine
from remediator.errors import RemediatorError, StoreError
from remediator.evaluator import Evaluator
from remediator.grafana import Grafana
from remediator.intake import Intake
from remediator.lease import FileLease
from remediator.metrics import Metrics
from remediator.perform import describe
from remediator.policy import policy_of
from remediator.prometheus import Prometheus
from remediator.reconcile import Reconciler
from remediator.store import Accepted, Store
from remediator.store.sqlite import open_sqlite
from remediator.system import Loaded, System, load, mark_loaded
from remediator.web import RUNNER_OPTIONS, Parts, make_app
from remediator.web.auth import Security, check_listen, load_security, parse_listen
from remediator.web.parts import Bell

log = logging.getLogger(__name__)

_RETENTION_INTERVAL = 3600.0


class Options(msgspec.Struct, frozen=True):
    """What the command line says. `listen` is HOST:PORT."""

    config_file: Path
    listen: str = "127.0.0.1:9797"
    web_config: Path | None = None
    allow_unauthenticated: bool = False


async def serve(options: Options, clock: Clock | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code. RemediatorError when it cannot start."""
    clock = clock or SystemClock()
    loaded = load(options.config_file)
    security = load_security(options.web_config)
    check_listen(options.listen, security, options.allow_unauthenticated)
    ending = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        system = await _assemble(options, loaded, security, clock, ending, stack)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: _spawn(stack, _reload(system)))
        await ending.wait()
        log.info("ends")
    return 0


async def _assemble(
    options: Options,
    loaded: Loaded,
    security: Security,
    clock: Clock,
    ending: asyncio.Event,
    stack: contextlib.AsyncExitStack,
) -> System:
    config, metrics, bell = loaded.config, Metrics(), Bell()
    database = config.storage.path

    lease = FileLease(database)
    lease.acquire()
    stack.callback(lease.release)
    store = await open_sqlite(database)
    stack.push_async_callback(store.close)
    rulebook = loaded.files.with_services(await store.added_services())
    mark_loaded(metrics, clock.now())

    prometheus = Prometheus(config.prometheus, query_timeout=config.global_.query_timeout, metrics=metrics)
    stack.push_async_callback(prometheus.close)
    runner = Runner()
    stack.push_async_callback(runner.close)

    followers: list[Follower] = []
    pager: Pager | None = None
    reconciler: Reconciler | None = None

    def told() -> None:
        bell.ring()
        for follower in followers:
            follower.wake()
        if pager is not None:
            pager.wake()

    intake = Intake(store, clock, metrics, wake=lambda: engine.wake())

    async def receive(notification: Notification) -> Accepted:
        accepted = await intake(notification.alerts)
        if notification.truncated and reconciler is not None:
            reconciler.wake()
        return accepted

    evaluator = Evaluator(
        rulebook,
        prometheus.query_blocking,
        clock=clock,
        metrics=metrics,
        interval=config.global_.evaluation_interval,
        stale_after=config.global_.stale_after,
        intake=intake,
        changed=lambda names: engine.changed(names),
    )
    stack.callback(evaluator.close)
    docket = Docket(
        rulebook,
        policy_of(config),
        judgement=evaluator.judgement,
        round_started=lambda: evaluator.round_started_at,
        sighting=lambda: evaluator.sighting,
        describe=describe,
        known=lambda: evaluator.known,
    )
    engine = Engine(
        store=store,
        docket=docket,
        clock=clock,
        metrics=metrics,
        run=runner,
        query=prometheus.query,
        look=evaluator.look,
        told=told,
    )
    system = System(options.config_file, loaded, store, docket, engine, evaluator, metrics, clock, security)
    follow_health(metrics, lambda: docket.healths(clock.now()))

    announcers: list[Announcer] = [LogAnnouncer(), MetricsAnnouncer(metrics)]
    if config.grafana is not None:
        grafana = Grafana(config.grafana)
        stack.push_async_callback(grafana.close)
        announcers.append(GrafanaAnnouncer(grafana, store, external_url=config.global_.external_url))
    followers += [Follower(announcer, store, clock=clock, metrics=metrics) for announcer in announcers]
    for follower in followers:
        await stack.enter_async_context(_running(follower.run(), ending))

    if config.alertmanagers:
        alertmanagers = await _alertmanagers(config, metrics, stack)
        docket.reconciled = False
        reconciler = Reconciler(
            alertmanagers,
            store,
            clock=clock,
            metrics=metrics,
            intake=intake,
            silenced=engine.silenced,
            compared=engine.compared,
        )
        pager = Pager(
            alertmanagers,
            pages=engine.pages,
            hushes=engine.hushes,
            clock=clock,
            metrics=metrics,
            mark=_mark(config),
            external_url=config.global_.external_url,
        )

    # The web answers from here on; it is not ready until the engine has read the store.
    parts = Parts(
        store=store,
        metrics=metrics,
        clock=clock,
        intake=receive,
        system=system,
        security=security,
        bell=bell,
        external_url=config.global_.external_url,
        started_at=clock.now(),
    )
    await stack.enter_async_context(_listening(make_app(parts), options.listen, security))

    await engine.load()
    firing = [stored.alert for stored in await store.firing_alerts() if stored.alert.source is Source.THRESHOLD]
    await evaluator.restore(firing)
    system.loaded_engine = True
    # The rules live as long as the process: without this every full garbage collection would walk them, and stall the
    # event loop for tens of milliseconds.
    gc.collect()
    gc.freeze()
    stack.push_async_callback(engine.stop)
    works = [evaluator.run(), engine.run(), *(part.run() for part in (reconciler, pager) if part is not None)]
    for work in works:
        await stack.enter_async_context(_running(work, ending))
    await stack.enter_async_context(_running(_retain(store, config.storage.retention, clock), ending))
    log.info("remediator %s serves on %s", __version__, options.listen)
    return system


def _mark(config: Config) -> str:
    """What tells this remediator, after a restart too, from others at the same Alertmanager."""
    return config.global_.external_url or f"{socket.gethostname()}:{os.path.abspath(config.storage.path)}"


async def _alertmanagers(config: Config, metrics: Metrics, stack: contextlib.AsyncExitStack) -> Alertmanagers:
    def counted(operation: str, done: bool) -> None:
        metrics.alertmanager_requests.labels(operation, "done" if done else "failed").inc()

    members = [Member(client, client.receiver) for client in config.alertmanagers]
    alertmanagers = Alertmanagers(members, counted=counted)
    stack.push_async_callback(alertmanagers.close)
    return alertmanagers


@contextlib.asynccontextmanager
async def _running(work: Awaitable[object], ending: asyncio.Event) -> AsyncIterator[None]:
    """A task for as long as the program runs. Should it end by itself, the program ends with it: better a restart by
    the supervisor than a healer that only seems alive."""
    task = asyncio.ensure_future(work)

    def ended(task: asyncio.Future[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("ends because a part of it failed", exc_info=error)
            ending.set()

    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _listening(app: web.Application, listen: str, security: Security) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, **RUNNER_OPTIONS)
    await runner.setup()
    host, port = parse_listen(listen)
    try:
        site = web.TCPSite(runner, host or None, port, ssl_context=security.ssl_context())
        await site.start()
        yield
    except OSError as error:
        raise RemediatorError(f"cannot listen on {listen}: {error.strerror or error}") from None
    finally:
        await runner.cleanup()


async def _retain(store: Store, retention: float, clock: Clock) -> None:
    """Forget what ended longer ago than `retention` seconds, hour by hour."""
    while True:
        try:
            gone = await store.forget(clock.now() - retention)
            if gone:
                log.info("forgot %d rows older than the retention", gone)
        except StoreError as error:
            log.error("cannot forget what is old: %s", error)
        await clock.wait(asyncio.Event(), _RETENTION_INTERVAL)


async def _reload(system: System) -> None:
    try:
        await system.reload()
    except RemediatorError as error:
        log.error("cannot reload, goes on with what it has:\n%s", error)


def _spawn(stack: contextlib.AsyncExitStack, work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    stack.callback(task.cancel)


__all__ = ["Options", "serve"]
