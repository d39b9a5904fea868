"""The command line: one module per command, each with `add` (its arguments) and `run` (exit code 0, 1 or 2).

Exit codes are those of promtool: 0 no problem was found, 1 problems were found, 2 the command could not run.
A module imports at its top only what parsing arguments needs. It imports the rest in `run`, so that `--help` is fast.
Larger commands are packages: `check`, `backtest`, `demo`, `init`. Nothing else imports this package.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from remediator import __version__
from remediator.errors import RemediatorError

_MODULES = (
    "init.command",
    "serve",
    "check.command",
    "match",
    "test",
    "backtest.command",
    "heal",
    "services",
    "incidents",
    "history",
    "alerts",
    "why",
    "pause",
    "resume",
    "approve_deny_dismiss",
    "page",
    "backup",
    "rules",
    "schema",
    "demo.command",
)
"""The modules that declare commands, in the order of the help text."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Entry point of the console script."""
    parser = argparse.ArgumentParser(
        prog="remediator", description="Heals services by rule, on alerts from Alertmanager, verified by PromQL."
    )
    parser.add_argument("--version", action="version", version=f"remediator {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in _MODULES:
        importlib.import_module(f"remediator.cli.{name}").add(commands)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
    except RemediatorError as error:
        print(f"remediator: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The program that reads the output, such as head, has closed the pipe.
        sys.stderr.close()
        return 0
    return code
