"""The demo's output: a live table on a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from remediator.cli.demo.director import DemoState, FaultProgress, Json, seconds
from remediator.cli.demo.faults import DemoFault

_COLOURS = {
    "healthy": "green",
    "degraded": "yellow",
    "failed": "bold red",
    "recovering": "cyan",
    "unknown": "dim",
    "recovered": "green",
    "cleared": "green",
}
_LINES = 9


class Screen:
    """Shows the demo's state. The live table is shown only inside the `with` block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.time()
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._lines: list[Text] = []
        self._state: DemoState | None = None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._line(Text(text))

    def on_fault(self, fault: DemoFault) -> None:
        """Print that a fault was injected."""
        self._line(Text.assemble((f"{fault.service:<11}", "bold"), (f"BREAKS: {fault.name}, {fault.text}", "magenta")))

    def on_entry(self, entry: Json) -> None:
        """Print a journal entry of remediator."""
        self._line(Text.assemble((f"{entry['service']:<11}", "bold"), entry["text"].split("\n")[0]))

    def on_state(self, state: DemoState) -> None:
        """Show the new state."""
        self._state = state
        if self._live is not None:
            self._live.update(Group(_table(state), *self._lines[-_LINES:]))

    def _line(self, text: Text) -> None:
        line = Text.assemble((f"{time.time() - self._began:6.1f}s  ", "dim"), text)
        line.no_wrap, line.overflow = True, "ellipsis"
        self._lines.append(line)
        if self._live is None:
            self._console.print(line, soft_wrap=True)
        elif self._state is not None:
            self.on_state(self._state)


def _table(state: DemoState) -> RenderableType:
    table = Table(expand=True, title="remediator demo", title_justify="left")
    for name, ratio in (("service", 2), ("health", 2), ("seen", 6), ("remediator", 8), ("elapsed", 2)):
        table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    for service in state.services:
        progress = state.progress(service["name"])
        table.add_row(
            service["name"],
            _coloured(service["health"]),
            _seen(service),
            _doing(service, progress),
            _elapsed(progress),
        )
    return table


def _seen(service: Json) -> str:
    """The readings that explain the service's health, without the health, which has its own column."""
    health = service["health"]
    readings = [reading["text"] for reading in service["readings"] if reading["health"] == health]
    return ", ".join(text.removesuffix(f" ({health})") for text in readings) or service["text"]


def _doing(service: Json, progress: FaultProgress) -> Text:
    if service["hold"] is not None:
        return Text(service["hold"]["text"], "yellow")
    if service["incident"] is not None:
        return Text(service["decision"], "cyan")
    if progress.over and progress.incident is not None:
        return Text(progress.incident["closing"].partition(": ")[0], "green")
    return Text("")


def _elapsed(progress: FaultProgress) -> str:
    if not progress.injected_at:
        return ""
    took = progress.took
    return f"{time.time() - progress.injected_at if took is None else took:.0f}s"


def _coloured(word: str) -> Text:
    return Text(word, _COLOURS.get(word, ""))


def summary(state: DemoState) -> Table:
    """How each fault was found, healed and verified."""
    table = Table(title="What broke, and what became of it", title_justify="left")
    for name in ("service", "fault", "found by", "steps", "verdict"):
        table.add_column(name)
    table.add_column("found after", justify="right")
    table.add_column("time to recovery", justify="right")
    for progress in state.progresses:
        table.add_row(progress.fault.service, progress.fault.name, *_ending(progress))
    return table


def _ending(progress: FaultProgress) -> tuple[Any, ...]:
    if progress.incident is None:
        return ("", "", _coloured("spared") if progress.healed_by_root else Text("not found", "bold red"), "", "")
    found = seconds(progress.incident["openedAt"]) - progress.injected_at
    took = progress.took
    verdict = Text(progress.incident["verdict"] or "not healed", "green" if progress.healed else "bold red")
    steps = ", then ".join(progress.steps) or (
        f"none: {progress.fault.root} was healed" if progress.fault.root else "none"
    )
    if progress.incident["approval"]:
        steps += " (approved)"
    return progress.found_by, steps, verdict, f"{found:.1f}s", "" if took is None else f"{took:.1f}s"


def closing_line(state: DemoState) -> str:
    """`healed 7/7, mean time to recovery 12.3s`."""
    healed = [progress for progress in state.progresses if progress.healed]
    times = [progress.took for progress in healed if progress.took is not None]
    mean = f", mean time to recovery {sum(times) / len(times):.1f}s" if times else ""
    return f"healed {len(healed)}/{len(state.progresses)}{mean}"
