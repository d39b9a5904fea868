"""The command line: one module per command, each with `add` (its arguments) and `run` (exit code 0, 1 or 2).

Exit codes as promtool's: 0 all is well, 1 what was looked at is not, 2 the command itself could not be carried out.
Modules here import at their top only what parsing arguments needs; the rest waits until the command runs.
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
    "backup",
    "schema",
    "demo.command",
)
"""The modules of the commands, in the order of the help text."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the console script's entry."""
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
        # The reader of our output, such as head, has seen enough.
        sys.stderr.close()
        return 0
    return code
