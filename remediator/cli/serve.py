"""`remediator serve`: the daemon."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="run the daemon", description="Receive alerts and heal services.")
    parser.add_argument("--config.file", dest="config_file", default="remediator.yml", metavar="FILE")
    parser.add_argument(
        "--config.auto-reload-interval",
        dest="auto_reload",
        type=_interval,
        default="0s",
        metavar="DURATION",
        help="how often to look whether config, rule files, web config or certificates have changed, and reload if so"
        " (default: never)",
    )
    parser.add_argument(
        "--web.listen-address",
        dest="listen",
        action="append",
        metavar="HOST:PORT",
        help="where to serve (default 127.0.0.1:9797), may be repeated; anything but loopback needs a web config with"
        " credentials",
    )
    parser.add_argument(
        "--web.systemd-socket",
        dest="systemd_socket",
        action="store_true",
        help="serve on the sockets that systemd passes (a .socket unit), instead of on listen addresses",
    )
    parser.add_argument(
        "--web.external-url",
        dest="external_url",
        default="",
        metavar="URL",
        help="where people reach it, such as behind a proxy: for links, and its path before all of them (default:"
        " external_url of the config, without its path)",
    )
    parser.add_argument(
        "--web.route-prefix",
        dest="route_prefix",
        metavar="PATH",
        help="what the paths of requests begin with (default: the path of --web.external-url); / where a proxy takes"
        " that path away",
    )
    parser.add_argument("--web.config.file", dest="web_config", default="", metavar="FILE", help="TLS and credentials")
    parser.add_argument(
        "--web.allow-unauthenticated",
        dest="allow_unauthenticated",
        action="store_true",
        help="ask for no credentials, on any address; whoever reaches it may then run the runbooks",
    )
    parser.add_argument(
        "--storage.wait",
        dest="storage_wait",
        type=_duration,
        default="5m",
        metavar="DURATION",
        help="how long to wait at the start for a database that is away or has no space (default %(default)s)",
    )
    parser.add_argument("--log.level", dest="log_level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log.format", dest="log_format", default="logfmt", choices=("logfmt", "json"))
    parser.set_defaults(run=run)


def _duration(text: str) -> float:
    from remediator.model.durations import parse_duration

    return parse_duration(text)


def _interval(text: str) -> float:
    seconds = _duration(text)
    if 0 < seconds < 1:
        raise ValueError("shorter than 1s")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    import asyncio
    import signal
    from pathlib import Path

    # It means to reload. Until the program can, it must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from remediator.app import Options, serve
    from remediator.notify.log import set_up_logging

    set_up_logging(args.log_level, args.log_format)
    options = Options(
        config_file=Path(args.config_file),
        listen=tuple(args.listen or ("127.0.0.1:9797",)),
        systemd_socket=args.systemd_socket,
        external_url=args.external_url,
        route_prefix=args.route_prefix,
        web_config=Path(args.web_config) if args.web_config else None,
        allow_unauthenticated=args.allow_unauthenticated,
        auto_reload=args.auto_reload,
        storage_wait=args.storage_wait,
    )
    return asyncio.run(serve(options))
