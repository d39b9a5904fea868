"""Runs the demo: starts everything in order, and removes everything at the end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from pathlib import Path

from rich.console import Console

from remediator.cli.demo.control_server import ControlServer
from remediator.cli.demo.director import Director
from remediator.cli.demo.faults import FAULTS, SERVICES
from remediator.cli.demo.processes import DemoServices
from remediator.cli.demo.screen import Screen, closing_line, summary
from remediator.cli.demo.servers import ServerUrls, find_programs, last_lines, running_servers
from remediator.web.local_credential import credential_path, read_credential

_WIDTH = 160
"""Width of the summary without a terminal."""


def run_demo(*, keep: bool, speed: float) -> int:
    """Run the demo in a temporary folder. Returns 0 when every fault was healed, else 1; DemoError when it cannot run.

    With `keep` everything runs until Ctrl-C, and the folder is kept.
    """
    find_programs()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="remediator-demo-"))
        if not keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _end_on_signals(stack)
        begin = f"Starting {len(SERVICES)} services, Prometheus, Alertmanager and remediator in {folder}"
        console.print(begin, soft_wrap=True)
        services = stack.enter_context(DemoServices(folder, SERVICES))
        stack.enter_context(ControlServer(services))
        urls = stack.enter_context(running_servers(folder))
        # From here on a second Ctrl-C must not interrupt the removal.
        stack.callback(_ignore_signals)
        with Screen(console) as screen:
            director = Director(
                urls.remediator,
                services,
                FAULTS,
                credential=read_credential(credential_path(str(folder / "remediator.db"))),
                speed=speed,
                on_state=screen.on_state,
                on_entry=screen.on_entry,
                on_fault=screen.on_fault,
            )
            state = asyncio.run(director.run())
        console.print(summary(state))
        console.print(closing_line(state), style="bold")
        healed = all(progress.healed for progress in state.progresses)
        if not healed:
            console.print("The last of remediator's log:", *last_lines(folder, "remediator", 10), sep="\n    ")
        if keep:
            _wait_for_ctrl_c(console, folder, urls)
        return 0 if healed else 1


def _wait_for_ctrl_c(console: Console, folder: Path, urls: ServerUrls) -> None:
    console.print(
        f"""
Everything goes on running until Ctrl-C:
    remediator    {urls.remediator}
    Prometheus    {urls.prometheus}
    Alertmanager  {urls.alertmanager}
Break something yourself, look at it, and approve what asks, as nobody else does now:
    {folder}/fleet inject search slow
    remediator incidents --url {urls.remediator}
    remediator approve ID --url {urls.remediator}
    remediator page --url {urls.remediator}""",
        soft_wrap=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    console.print(f"Stopping; configuration, rules and logs stay in {folder}")


def _end_on_signals(stack: contextlib.ExitStack) -> None:
    """Make TERM and HUP end the demo like Ctrl-C. The handlers before are restored on exit."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)),
        (signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT)),
    ):
        stack.callback(signal.signal, number, signal.signal(number, handler))


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
