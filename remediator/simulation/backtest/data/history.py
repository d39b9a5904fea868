"""History: the answers of Prometheus over a time, fetched in stretches and kept in a folder.

Nothing is asked twice, and an interrupted backtest goes on where it ended. Stretches lie on a grid, so that another
backtest of the same days finds them again. Answers younger than `FRESH` may still change and are kept for this run only.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from remediator.clients.prometheus.client import Prometheus
from remediator.errors import RemediatorError, RemoteError
from remediator.model.durations import rough_duration
from remediator.model.rules import Threshold
from remediator.rules.promql_words import ahead
from remediator.simulation.backtest.data.cache import Recent
from remediator.simulation.backtest.data.prometheus_sources import PrometheusSources
from remediator.simulation.backtest.data.range_queries import RangeQueries, shown
from remediator.simulation.backtest.data.recording import Recording, decode, encode

FRESH = 600.0
"""Seconds for which the newest values may still change, by late samples and rule evaluations."""
FILLS = 600.0
"""Data that begin up to this many seconds after the start count as complete: the windows of expressions fill first."""
KEPT = 7 * 86400.0
"""Seconds after which kept answers are deleted."""
_CONDITIONS = 4_000_000
"""The most points of conditions in memory."""

_SUFFIX = ".recording"
_OURS = re.compile(r"([0-9a-f]{64}|part-\w+)\.recording")

_LOOKS_AHEAD = "by {} it would see here what it did not see then"
"""The reason why an expression with such a modifier cannot be replayed."""
ALERTS = 'ALERTS{alertstate="firing"}'
"""The series in which Prometheus records which alerts fired."""


class History:
    """The answers from `start` to `end`, every `step` seconds. All are seconds, and multiples of the step.

    `folder` keeps the answers, and `source` tells servers and users apart in it. `asked_from` is the start that the user
    asked for, when Prometheus remembers nothing of its beginning. With `refresh`, kept answers are replaced. Raises
    RemoteError when Prometheus does not answer.
    """

    def __init__(
        self,
        prometheus: Prometheus | PrometheusSources,
        source: str,
        folder: Path,
        start: int,
        end: int,
        step: int,
        stretch: int,
        asked_from: int | None = None,
        refresh: bool = False,
    ) -> None:
        self.start = start
        self.end = end
        self.remembered_from = start
        """When the gathered data begin, in seconds: `start` or later."""
        self.step = step
        self.stretch = stretch
        self._asked_from = start if asked_from is None else asked_from
        self._prometheus = prometheus
        self._queries = RangeQueries(prometheus, step)
        self._source = source
        self._folder = folder
        self._began = time.time()
        self._refresh = refresh
        self._fresh: set[Path] = set()
        self._new: set[Path] = set()
        """The answers that this backtest fetched."""
        self._old: dict[Path, float] = {}
        """The answers of earlier backtests that are used here, with the times at which they were fetched."""
        self._unseen: dict[str, dict[int, tuple[float, str]]] = {}
        """The unseen time of expressions: by the start of a stretch, the seconds and the first error."""
        self._conditions = Recent(_CONDITIONS)

    @property
    def asked(self) -> int:
        """The number of range queries so far."""
        return self._queries.asked

    @property
    def kept(self) -> list[float]:
        """When the answers of earlier backtests were fetched, in seconds since the epoch."""
        return list(self._old.values())

    @property
    def answers(self) -> int:
        """The number of answers in use, one per expression and stretch, both kept and fetched now."""
        return len(self._old) + len(self._new)

    @property
    def warnings(self) -> list[str]:
        """Prometheus' warnings: a part of the data may be missing."""
        return list(self._queries.warnings)

    @property
    def remarks(self) -> list[str]:
        """Sentences about the answers: when they begin, and how long each expression was unseen."""
        found = []
        if self.start > self._asked_from:
            asked, begins = (
                f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%MZ}" for at in (self._asked_from, self.start)
            )
            found.append(
                f"Prometheus remembers nothing of it before {begins}: the backtest begins there, not at {asked}."
            )
        for expr, stretches in self._unseen.items():
            seconds, error = sum(seconds for seconds, _ in stretches.values()), stretches[min(stretches)][1]
            found.append(
                f"For {rough_duration(seconds)} in all {shown(expr)} was not answered in full, and is taken as unseen there:"
                f" {error.rstrip('.')}."
            )
        return found

    def stretches(self) -> list[tuple[int, int]]:
        """The stretches from start to end. The last step of one is the first of the next."""
        first = self.start // self.stretch
        last = max(first, (self.end - 1) // self.stretch)
        return [(k * self.stretch, min((k + 1) * self.stretch, self.end)) for k in range(first, last + 1)]

    def gather(self, exprs: Sequence[str], on_answer: Callable[[], None]) -> None:
        """Fetch what the folder lacks, and move the start to where the data begin.

        `on_answer` is called once per expression and stretch.
        """
        for stretch in self.stretches():
            for expr in exprs:
                if not self._there(self._path(expr, *stretch)):
                    self._fetch(expr, *stretch)
                on_answer()
        first = self._first(exprs)
        if first - self.start > FILLS:
            self.start = self.remembered_from = first

    def recording(self, expr: str, start: int, end: int) -> Recording:
        """The recording of an expression over a stretch."""
        found = self._from_file(self._path(expr, start, end)) or self._fetch(expr, start, end)
        if found.unseen:
            self._note_unseen(expr, found, end)
        return found

    def condition(self, expr: str, now: float) -> Recording:
        """The recording of a condition over the stretch around this time. RemoteError also when it looks ahead."""
        if (modifier := ahead(expr, self.start)) is not None:
            raise RemoteError(f"cannot replay {shown(expr)}: {_LOOKS_AHEAD.format(modifier)}", retry=False)
        start = math.floor(now / self.stretch) * self.stretch
        end = min(start + self.stretch, self.end)
        return self._conditions.get((expr, start), lambda: self.recording(expr, start, end))

    def close(self) -> None:
        """Delete the answers that were incomplete or may still change."""
        for path in self._fresh:
            path.unlink(missing_ok=True)

    def _first(self, exprs: Sequence[str]) -> int:
        """The first time at which one of these expressions has a series or fails; `start` when none does."""
        for start, end in self.stretches():
            here = [self.recording(expr, start, end) for expr in exprs]
            since = (self.start - start) // self.step
            runs = (run for recording in here for one in recording.series for run in one.runs)
            parts = (part for recording in here for part in recording.unseen)
            spans = [*((run.first, run.end) for run in runs), *((part.first, part.end) for part in parts)]
            steps = [max(first, since) for first, after in spans if after > since]
            if steps:
                return start + min(steps) * self.step
        return self.start

    def _note_unseen(self, expr: str, found: Recording, end: int) -> None:
        # The last step of a stretch belongs to the next one, except at the end of the history.
        first, last = found.step_at(self.start), found.count - 1
        parts = [part for part in found.unseen if part.end > first and (part.first < last or end >= self.end)]
        if parts:
            steps = max(1, sum(min(part.end, last) - max(part.first, first) for part in parts))
            self._unseen.setdefault(expr, {})[found.start] = (float(steps * self.step), parts[0].error)

    def _fetch(self, expr: str, start: int, end: int) -> Recording:
        found = self._queries.recording(expr, start, end)
        if len(found.series) == 1 and not found.series[0].labels:
            answer = self._prometheus.query_blocking(expr)
            found = msgspec.structs.replace(found, scalar=answer.kind == "scalar")
        self.keep(expr, start, end, found)
        # Missing data may be filled in later, and an unseen time may be visible the next time.
        if found.unseen or not found.series:
            self._fresh.add(self._path(expr, start, end))
        return found

    def keep(self, expr: str, start: int, end: int, found: Recording) -> None:
        """Keep the recording of an expression over a stretch. RemediatorError when it cannot be written."""
        path = self._path(expr, start, end)
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="part-", suffix=_SUFFIX, delete=False) as file:
                file.write(encode(found))
            os.replace(file.name, path)
        except OSError as error:
            raise RemediatorError(f"cannot keep what Prometheus answered in {self._folder}: {error}") from None
        self._new.add(path)
        self._old.pop(path, None)
        if end > self._began - FRESH:
            self._fresh.add(path)

    def _from_file(self, path: Path) -> Recording | None:
        if self._there(path):
            # A file that is gone or damaged is fetched again.
            with contextlib.suppress(OSError, ValueError):
                return decode(path.read_bytes())
        return None

    def _there(self, path: Path) -> bool:
        """Whether the folder has an answer that may be used."""
        if path not in self._new and not self._refresh:
            with contextlib.suppress(FileNotFoundError):
                self._old[path] = path.stat().st_mtime
        return path in self._new or path in self._old

    def _path(self, expr: str, start: int, end: int) -> Path:
        fresh = f"{self._began}" if end > self._began - FRESH else ""
        parts = (self._source, expr.strip(), str(start), str(end), str(self.step), fresh, sys.byteorder)
        return self._folder / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}{_SUFFIX}"


def refuse_to_look_ahead(thresholds: Iterable[Threshold], start: float) -> None:
    """RemediatorError for the first threshold whose expression looks ahead: it would see values that came later."""
    for threshold in thresholds:
        if (modifier := ahead(threshold.expr, start)) is not None:
            raise RemediatorError(
                f"cannot backtest threshold {threshold.name}: {_LOOKS_AHEAD.format(modifier)}:"
                " give rule files without it after --rules"
            )


def open_folder(folder: Path) -> Path:
    """The folder for answers, created if missing. Deletes old answers and nothing else. RemediatorError on failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if _OURS.fullmatch(path.name) and time.time() - path.stat().st_mtime > KEPT:
                    path.unlink()
    except OSError as error:
        raise RemediatorError(f"cannot use the folder {folder} for what Prometheus answers: {error}") from None
    return folder


def default_folder() -> Path:
    """The default folder for answers, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remediator" / "backtest"
