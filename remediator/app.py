"""The program: every part made and joined in one straight line, taken apart in reverse, and reloaded as a whole.

Nothing is decided here. Who knows whom: the receiver and the evaluator know an intake; the engine knows the store, the
docket and its hands; announcers know the journal. A commit rings the bell, and whoever follows the journal looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from remediator import __version__
from remediator.actions.runner import Runner
from remediator.alert import Notification, Source
from remediator.announce import Announcer, Follower
from remediator.announce.grafana import GrafanaAnnouncer
from remediator.announce.log import LogAnnouncer
from remediator.announce.metrics import MetricsAnnouncer, follow_health
from remediator.case import ServiceView, Why
from remediator.clock import Clock, SystemClock
from remediator.config import Config, load_config
from remediator.docket import Docket
from remediator.engine import Engine
from remediator.errors import ConflictError, RemediatorError, StoreError
from remediator.evaluator import Evaluator
from remediator.grafana import Grafana
from remediator.incident import StoredAlert
from remediator.intake import Intake
from remediator.judge import Sighting
from remediator.lease import FileLease
from remediator.metrics import Metrics
from remediator.page import Page
from remediator.perform import describe
from remediator.policy import policy_of
from remediator.prometheus import Prometheus
from remediator.rulebook import Rulebook, Service
from remediator.rulefile import load_rules, service_from_document
from remediator.store import Accepted, Store
from remediator.store.sqlite import open_sqlite
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


class Loaded(msgspec.Struct, frozen=True):
    """Config and rules as one: a reload swaps the whole, or nothing."""

    config: Config
    files: Rulebook
    """The rules of the rule files alone, without services added at run time."""


def load(config_file: Path) -> Loaded:
    """Read config and rule files. ConfigError with every problem; warnings are logged."""
    config = load_config(config_file)
    rulebook, warnings = load_rules(config.rule_paths(), service_label=config.global_.service_label)
    for problem in warnings:
        log.warning("%s", problem.render())
    return Loaded(config, rulebook)


class System:
    """The running program as the web sees it."""

    def __init__(
        self,
        config_file: Path,
        loaded: Loaded,
        store: Store,
        docket: Docket,
        engine: Engine,
        evaluator: Evaluator,
        metrics: Metrics,
        clock: Clock,
        security: Security,
    ) -> None:
        self._security = security
        self._config_file = config_file
        self._loaded = loaded
        self._store = store
        self._docket = docket
        self._engine = engine
        self._evaluator = evaluator
        self._metrics = metrics
        self._clock = clock
        self._reloading = asyncio.Lock()
        self.store_trouble = ""
        self.loaded_engine = False

    def services(self) -> list[ServiceView]:
        now = self._clock.now()
        views = (self._docket.view(name, now) for name in self._docket.names())
        return [view for view in views if view is not None]

    def service(self, name: str) -> ServiceView | None:
        return self._docket.view(name, self._clock.now())

    async def why(self, name: str) -> Why | None:
        return await self._engine.why(name)

    def pages(self) -> Sequence[Page]:
        return self._engine.pages()

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        return await self._engine.heal(name, author, comment, force)

    def not_ready(self) -> list[str]:
        reasons = []
        if not self.loaded_engine:
            reasons.append("the store is still being read")
        if self.store_trouble:
            reasons.append(self.store_trouble)
        return reasons

    def rules(self) -> Mapping[str, Any]:
        book = self._docket.rulebook
        nouns = {
            "services": book.services,
            "thresholds": book.thresholds,
            "runbooks": book.runbooks,
            "targets": tuple(book.targets.values()),
        }
        return {name: msgspec.to_builtins(rules) for name, rules in nouns.items()}

    def woken(self) -> None:
        self._engine.answered()

    async def reload(self) -> None:
        """Swap config and rules for what the files say now. ConfigError, and nothing changed, when they are wrong."""
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(load, self._config_file)
                await asyncio.to_thread(self._security.reload)
            except RemediatorError:
                self._metrics.reload_successful.set(0)
                raise
            await self._use(loaded)
            log.info("reloaded %s", self._config_file)

    async def add_service(self, document: Mapping[str, Any], author: str) -> Service:
        async with self._reloading:
            service = await asyncio.to_thread(service_from_document, document, self._loaded.files)
            if service.name in self._loaded.files.named:
                raise ConflictError(f"cannot add {service.name}: a rule file has a service of this name")
            await self._store.add_service(service, author, self._clock.now())
            await self._use(self._loaded)
            return service

    async def remove_service(self, name: str, author: str) -> None:
        async with self._reloading:
            await self._store.remove_service(name, author, self._clock.now())
            await self._use(self._loaded)

    async def _use(self, loaded: Loaded) -> None:
        rulebook = loaded.files.with_services(await self._store.added_services())
        self._loaded = loaded
        self._evaluator.swap(rulebook)
        await self._engine.reload(
            rulebook, policy_of(loaded.config.global_, loaded.config.limits, loaded.config.severity)
        )
        mark_loaded(self._metrics, self._clock.now())


def mark_loaded(metrics: Metrics, now: float) -> None:
    """Say in the metrics that config and rules were loaded."""
    metrics.reload_successful.set(1)
    metrics.reload_timestamp.set(now)


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

    def told() -> None:
        bell.ring()
        for follower in followers:
            follower.wake()

    intake = Intake(store, clock, metrics, wake=lambda: engine.wake())

    async def receive(notification: Notification) -> Accepted:
        return await intake(notification.alerts)

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
        policy_of(config.global_, config.limits, config.severity),
        judgement=evaluator.judgement,
        round_started=lambda: evaluator.round_started_at,
        sighting=lambda: Sighting(at=evaluator.seen_at, since=evaluator.seen_since, back=evaluator.back_at),
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
    await stack.enter_async_context(_running(evaluator.run(), ending))
    await stack.enter_async_context(_running(engine.run(), ending))
    await stack.enter_async_context(_running(_retain(store, config.storage.retention, clock), ending))
    log.info("remediator %s serves on %s", __version__, options.listen)
    return system


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
