"""What people see of the demo: a live table on a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from remediator.cli.demo.director import Json, Patient, Scene, seconds
from remediator.cli.demo.faults import Fault

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
    """Shows a scene. Use as a context manager; the live table is there only while it is entered."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.time()
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._lines: list[Text] = []
        self._scene: Scene | None = None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line of our own."""
        self._line(Text(text))

    def struck(self, fault: Fault) -> None:
        """Something breaks."""
        self._line(Text.assemble((f"{fault.service:<11}", "bold"), (f"BREAKS: {fault.name}, {fault.text}", "magenta")))

    def told(self, entry: Json) -> None:
        """A journal entry of remediator's."""
        self._line(Text.assemble((f"{entry['service']:<11}", "bold"), entry["text"].split("\n")[0]))

    def changed(self, scene: Scene) -> None:
        """The scene is new."""
        self._scene = scene
        if self._live is not None:
            self._live.update(Group(_table(scene), *self._lines[-_LINES:]))

    def _line(self, text: Text) -> None:
        line = Text.assemble((f"{time.time() - self._began:6.1f}s  ", "dim"), text)
        line.no_wrap, line.overflow = True, "ellipsis"
        self._lines.append(line)
        if self._live is None:
            self._console.print(line, soft_wrap=True)
        elif self._scene is not None:
            self.changed(self._scene)


def _table(scene: Scene) -> RenderableType:
    table = Table(expand=True, title="remediator demo", title_justify="left")
    for name, ratio in (("service", 2), ("health", 2), ("seen", 6), ("remediator", 8), ("elapsed", 2)):
        table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    for service in scene.services:
        patient = scene.patient(service["name"])
        table.add_row(
            service["name"],
            _coloured(service["health"]),
            _seen(service),
            _doing(service, patient),
            _elapsed(patient),
        )
    return table


def _seen(service: Json) -> str:
    """The readings that make the service what it is; its health has a column of its own."""
    health = service["health"]
    readings = [reading["text"] for reading in service["readings"] if reading["health"] == health]
    return ", ".join(text.removesuffix(f" ({health})") for text in readings) or service["text"]


def _doing(service: Json, patient: Patient) -> Text:
    if service["hold"] is not None:
        return Text(service["hold"]["text"], "yellow")
    if service["incident"] is not None:
        return Text(service["decision"], "cyan")
    if patient.over and patient.incident is not None:
        return Text(patient.incident["closing"].partition(": ")[0], "green")
    return Text("")


def _elapsed(patient: Patient) -> str:
    if not patient.struck_at:
        return ""
    took = patient.took
    return f"{time.time() - patient.struck_at if took is None else took:.0f}s"


def _coloured(word: str) -> Text:
    return Text(word, _COLOURS.get(word, ""))


def summary(scene: Scene) -> Table:
    """How each fault was found, healed and verified."""
    table = Table(title="What broke, and what became of it", title_justify="left")
    for name in ("service", "fault", "found by", "steps", "verdict"):
        table.add_column(name)
    table.add_column("found after", justify="right")
    table.add_column("time to recovery", justify="right")
    for patient in scene.patients:
        table.add_row(patient.fault.service, patient.fault.name, *_ending(patient))
    return table


def _ending(patient: Patient) -> tuple[Any, ...]:
    if patient.incident is None:
        return ("", "", _coloured("spared") if patient.spared else Text("not found", "bold red"), "", "")
    found = seconds(patient.incident["openedAt"]) - patient.struck_at
    took = patient.took
    verdict = Text(patient.incident["verdict"] or "not healed", "green" if patient.healed else "bold red")
    steps = ", then ".join(patient.steps) or (
        f"none: {patient.fault.root} was healed" if patient.fault.root else "none"
    )
    if patient.incident["approval"]:
        steps += " (approved)"
    return patient.found_by, steps, verdict, f"{found:.1f}s", "" if took is None else f"{took:.1f}s"


def closing_line(scene: Scene) -> str:
    """`healed 7/7, mean time to recovery 12.3s`."""
    healed = [patient for patient in scene.patients if patient.healed]
    times = [patient.took for patient in healed if patient.took is not None]
    mean = f", mean time to recovery {sum(times) / len(times):.1f}s" if times else ""
    return f"healed {len(healed)}/{len(scene.patients)}{mean}"
