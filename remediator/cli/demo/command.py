"""`remediator demo`: the whole loop on this machine, with real Prometheus and Alertmanager and seven small services."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help="break seven small services and watch them being healed",
        description="Start Prometheus, Alertmanager, remediator and seven small services on free loopback ports in a "
        "temporary folder, break the services one after another, approve what asks first, show how each is found, healed "
        "and verified, and take everything away again. Exit code 0 when every fault was healed, 1 when one was not, 2 when it cannot be run.",
    )
    parser.add_argument("--keep", action="store_true", help="leave it running, and the folder in place, until Ctrl-C")
    parser.add_argument(
        "--speed",
        type=_factor,
        default=1.0,
        metavar="FACTOR",
        help="how fast faults follow one another: 2 is twice as fast (default %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    from remediator.cli.demo.run import run_demo

    return run_demo(keep=args.keep, speed=args.speed)


def _factor(text: str) -> float:
    factor = float(text)
    if not 0.1 <= factor <= 100:
        raise ValueError
    return factor
