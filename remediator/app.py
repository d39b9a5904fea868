"""The program: every part made and joined in one straight line, taken apart in reverse, and reloaded as a whole.

Nothing is decided here. What lasts as long as the process is made here; what is replaced whenever another process leads
is a `Replica`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from remediator import __version__
from remediator.actions.runner import Runner
from remediator.clients.alertmanager import Alertmanagers, Member
from remediator.clients.grafana import Grafana
from remediator.clients.service_manager import ServiceManager
from remediator.config.settings import Config
from remediator.engine.broadcast import Broadcast
from remediator.engine.intake import Intake
from remediator.engine.loop import POLL
from remediator.errors import RemediatorError, StoreError, UnavailableError
from remediator.metrics import Metrics
from remediator.model.alert import Notification
from remediator.model.clock import Backoff, Clock, SystemClock, retry, steady
from remediator.replica import ProcessResources, Replica, running
from remediator.runtime import Loaded, Runtime, load, mark_loaded
from remediator.store.interface import Accepted, Store
from remediator.store.leadership import FileLease, Leadership, SharedLease, SoleLeadership
from remediator.store.sqlite import open_sqlite
from remediator.watched_files import WatchedFiles, reload_when_changed
from remediator.web.application import RUNNER_OPTIONS, WebContext, make_app
from remediator.web.auth import Security, check_listen, load_security
from remediator.web.connections import BoundedServer, most_connections, quiet_exhaustion, raise_limit
from remediator.web.listen import Listener, inherited_listeners, known_hosts, listeners_at
from remediator.web.local_credential import credential_path, ensure_credential
from remediator.web.paths import WebPaths, web_paths

log = logging.getLogger(__name__)

T = TypeVar("T")

_REAL_TIME = SystemClock()
_STARTING = Backoff(first=0.5, longest=5.0)
_BACKOFF = Backoff(first=1.0, longest=1.0)
"""How a term is begun again that the store did not let begin."""
_SERVICES_INTERVAL = 5.0


class Options(msgspec.Struct, frozen=True):
    """What the command line says. `listen` has HOST:PORT; with `systemd_socket` it is not used."""

    config_file: Path
    listen: tuple[str, ...] = ("127.0.0.1:9797",)
    systemd_socket: bool = False
    external_url: str = ""
    route_prefix: str | None = None
    web_config: Path | None = None
    allow_unauthenticated: bool = False
    auto_reload: float = 0.0
    """Seconds between two looks at whether the files have changed; 0 for none."""
    storage_wait: float = 300.0
    """Seconds to wait at the start for a store that is not available."""


async def serve(options: Options, clock: Clock | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code. RemediatorError when it cannot start."""
    clock = clock or SystemClock()
    loop, early = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, early.set)
    paths = web_paths(options.external_url, options.route_prefix)
    watched = WatchedFiles(options.config_file, options.web_config)
    contents = watched.contents() if options.auto_reload else {}
    loaded = load(options.config_file, options.external_url)
    security = load_security(options.web_config)
    listeners = inherited_listeners() if options.systemd_socket else listeners_at(options.listen)
    for listener in listeners:
        if not listener.local:
            check_listen(listener.text, security, options.allow_unauthenticated)
    limit = raise_limit()
    quiet_exhaustion(loop)
    ending = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        async with _ended_by_signals(ending):
            system = await _assemble(options, loaded, security, paths, listeners, clock, ending, stack, limit)
        if ending.is_set():
            log.info("ends before it had started")
            return 0
        manager = ServiceManager()
        feeding = manager.feed_watchdog(lambda within: _decides(system, within))
        await stack.enter_async_context(running(feeding, lambda _: ending.set()))
        loop.add_signal_handler(signal.SIGHUP, lambda: _spawn(stack, _reload(system)))
        if early.is_set():
            _spawn(stack, _reload(system))
        if options.auto_reload:
            watching = reload_when_changed(watched, contents, options.auto_reload, system.reload)
            await stack.enter_async_context(running(watching, lambda _: ending.set()))
        manager.notify("READY=1")
        await ending.wait()
        manager.notify("STOPPING=1")
        log.info("ends")
    return 0


@contextlib.asynccontextmanager
async def _ended_by_signals(ending: asyncio.Event) -> AsyncIterator[None]:
    """Have SIGTERM and SIGINT set `ending`. While this block lasts they end it too: a start may wait minutes for its
    store."""
    loop, task, starting = asyncio.get_running_loop(), asyncio.current_task(), True

    def end() -> None:
        if task is not None and starting and not ending.is_set():
            task.cancel()
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
        starting = False
        # A signal at the very end of the start is delivered here.
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if task is None or not ending.is_set():
            raise
        task.uncancel()
    finally:
        starting = False


def _decides(system: Runtime, within: float) -> bool:
    """Whether the loop that decides has turned lately; it does so even when there is nothing to decide."""
    return time.monotonic() - system.replica.turned_at < max(within, 3 * POLL)


async def _assemble(
    options: Options,
    loaded: Loaded,
    security: Security,
    paths: WebPaths,
    listeners: Sequence[Listener],
    clock: Clock,
    ending: asyncio.Event,
    stack: contextlib.AsyncExitStack,
    limit: int,
) -> Runtime:
    config, metrics = loaded.config, Metrics()
    alerts_stored, committed = Broadcast(), Broadcast()
    if isinstance(clock, SystemClock):
        metrics.clock_skew.set_function(lambda: clock.skew)
    give_up_at = steady() + options.storage_wait
    store, leadership, database = await _open(listeners[0], paths, config, clock, metrics, stack, give_up_at)
    if not (options.allow_unauthenticated or security.has_users or security.certificates):
        beside = config.storage.path if not config.storage.shared else f"{options.config_file}.{listeners[0].port}"
        file = credential_path(beside)
        security.require_token(
            ensure_credential(file), file, open_to_readers=all(listener.local for listener in listeners)
        )

    sources = {
        source.name: source.client(query_timeout=config.global_.query_timeout, metrics=metrics)
        for source in config.sources
    }
    for source in sources.values():
        stack.push_async_callback(source.close)
    runner = Runner(leadership.holds)
    stack.push_async_callback(runner.close)
    grafana = Grafana(config.grafana) if config.grafana is not None else None
    if grafana is not None:
        stack.push_async_callback(grafana.close)

    def on_failure(error: BaseException) -> None:
        log.critical("ends because a part of it failed", exc_info=error)
        ending.set()

    intake = Intake(store, clock, metrics, alerts_stored)
    resources = ProcessResources(
        store=store,
        leadership=leadership,
        clock=clock,
        metrics=metrics,
        sources=sources,
        run=runner,
        intake=intake,
        alerts_stored=alerts_stored,
        committed=committed,
        alertmanagers=_alertmanagers(config, metrics, stack),
        grafana=grafana,
        database=database,
        shared=config.storage.shared,
        on_failure=on_failure,
    )
    system = Runtime(options.config_file, loaded, resources, security, options.external_url)
    leads = await _when_available(leadership.attempt, give_up_at)
    await _when_available(lambda: system.begin_term(leads=leads), give_up_at)
    mark_loaded(metrics, clock.now())

    async def receive(notification: Notification) -> Accepted:
        accepted = await intake(notification.alerts)
        if notification.truncated:
            system.on_truncated(notification.receiver)
        return accepted

    # The web answers from here on; it is not ready until the engine has read the store.
    context = WebContext(
        store=store,
        metrics=metrics,
        clock=clock,
        intake=receive,
        system=system,
        security=security,
        committed=committed,
        external_url=config.global_.external_url,
        listen_hosts=known_hosts(listeners),
        paths=paths,
        started_at=clock.now(),
    )
    await stack.enter_async_context(_listening(make_app(context), listeners, security, limit))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await stack.enter_async_context(running(_take_terms(system, leadership, begun, give_up_at), on_failure))
    await begun
    # The rules live as long as the process: without this every full garbage collection would walk them, and stall the
    # event loop for tens of milliseconds.
    gc.collect()
    gc.freeze()
    if config.storage.shared:
        await stack.enter_async_context(running(_follow_services(system), on_failure))
    log.info("remediator %s serves on %s", __version__, ", ".join(listener.text for listener in listeners))
    return system


async def _open(
    listener: Listener,
    paths: WebPaths,
    config: Config,
    clock: Clock,
    metrics: Metrics,
    stack: contextlib.AsyncExitStack,
    give_up_at: float,
) -> tuple[Store, Leadership, str]:
    """The store, who leads on it, and its name for people."""
    if not config.storage.shared:
        database = config.storage.path
        lock = FileLease(database)
        lock.acquire()
        stack.callback(lock.release)
        file = await _when_available(lambda: open_sqlite(database), give_up_at)
        stack.push_async_callback(file.close)
        return file, SoleLeadership(), database

    # Where it is not needed it is not loaded: a start takes a tenth of a second longer with it.
    from remediator.store.postgresql import database_name, open_postgresql

    storage = config.storage
    store = await _when_available(lambda: open_postgresql(storage.url, storage.password_file), give_up_at)
    stack.push_async_callback(store.close)
    host, port = listener.host, listener.port
    name = f"{host if host not in ('', '0.0.0.0', '::') else socket.gethostname()}:{port}"  # noqa: S104
    address = config.global_.external_url or f"http://{name}{paths.prefix}"
    lease = SharedLease(store, name, address, config.storage.lease_ttl, on_leader=metrics.leader_seen)
    while not lease.in_step:
        await _when_available(lease.attempt, give_up_at)
    if isinstance(clock, SystemClock):
        clock.follow(lease.now)
    return store, lease, database_name(config.storage.url)


async def _when_available(attempt: Callable[[], Awaitable[T]], give_up_at: float) -> T:
    """What an attempt returns, once the store is available. UnavailableError when it is not by this steady time."""

    def on_failure(error: Exception, failures: int) -> None:
        if steady() >= give_up_at:
            raise error
        if failures == 1:
            log.error("cannot start yet, tries again: %s", error)

    return await retry(_REAL_TIME, _STARTING, attempt, UnavailableError, on_failure)


async def _take_terms(system: Runtime, leadership: Leadership, begun: asyncio.Future[None], give_up_at: float) -> None:
    """Lead and follow in turn, for as long as the program runs. `begun` is set once the first term has begun, or with
    why it cannot. A term is never run twice."""

    def on_failure(error: Exception, failures: int) -> None:
        log.error("cannot begin anew, tries again: %s", error)

    while True:
        try:
            await _run_term(system.replica, leadership, begun)
        except StoreError as error:
            waits = isinstance(error, UnavailableError) and steady() < give_up_at
            if not begun.done() and not waits:
                begun.set_exception(error)
                return
            log.error("cannot %s, tries again: %s", "lead" if system.replica.leads else "follow", error)
            await asyncio.sleep(_BACKOFF.first)
        await retry(_REAL_TIME, _BACKOFF, lambda: system.begin_term(leads=leadership.leads), StoreError, on_failure)


async def _run_term(replica: Replica, leadership: Leadership, begun: asyncio.Future[None]) -> None:
    """Run a term until another process leads, or this one does. StoreError when it cannot begin."""
    # The lease is renewed from the first moment on, however long the store takes to be read.
    over = asyncio.ensure_future(leadership.keep() if replica.leads else leadership.acquire())
    try:
        async with replica.running():
            if not begun.done():
                begun.set_result(None)
            await over
    finally:
        over.cancel()
        await asyncio.gather(over, return_exceptions=True)


async def _follow_services(system: Runtime) -> None:
    """Take up the services that were added or removed at another process."""
    while True:
        await asyncio.sleep(_SERVICES_INTERVAL)
        try:
            await system.refresh()
        except StoreError as error:
            log.error("cannot read which services were added: %s", error)


def _alertmanagers(config: Config, metrics: Metrics, stack: contextlib.AsyncExitStack) -> Alertmanagers | None:
    if not config.alertmanagers:
        return None

    def counted(operation: str, done: bool) -> None:
        metrics.alertmanager_requests.labels(operation, "done" if done else "failed").inc()

    members = [Member(client, client.receiver) for client in config.alertmanagers]
    alertmanagers = Alertmanagers(members, counted=counted)
    stack.push_async_callback(alertmanagers.close)
    return alertmanagers


@contextlib.asynccontextmanager
async def _listening(
    app: web.Application, listeners: Sequence[Listener], security: Security, limit: int
) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, **RUNNER_OPTIONS)
    await runner.setup()
    # None only before `setup`.
    assert runner.server is not None  # noqa: S101
    bounded = BoundedServer(runner.server, most_connections(limit))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        for at in listeners:
            try:
                server = await bounded.listen(at.host or None, at.port, security.ssl_context(), at.passed)
            except OSError as error:
                raise RemediatorError(f"cannot listen on {at.text}: {error.strerror or error}") from None
            stack.callback(server.close)
        yield


async def _reload(system: Runtime) -> None:
    with contextlib.suppress(RemediatorError):
        await system.reload()


def _spawn(stack: contextlib.AsyncExitStack, work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    stack.callback(task.cancel)


__all__ = ["Options", "serve"]
