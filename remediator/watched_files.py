"""The files that a running program was loaded from: have they changed, and is it time to load them again?

Contents are compared, through symlinks, so that a ConfigMap's swap of a whole folder is seen, and a touched file is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from remediator.config.settings import load_config, rule_files
from remediator.errors import ConfigError, RemediatorError
from remediator.rules.overrides import extended_files
from remediator.web.web_config import load_web_config

log = logging.getLogger(__name__)

_SETTLES = 1.0
"""Seconds for which changed files have to stay the same: an editor may still be writing them."""

Contents = dict[Path, str]
"""What each file has in it, as a digest; empty for one that cannot be read."""


class WatchedFiles:
    """The config file, what it names, and the web config with its certificates. A file that cannot be read right now
    leaves what it named among the watched."""

    def __init__(self, config_file: Path, web_config: Path | None) -> None:
        self._config_file = config_file
        self._web_config = web_config
        self._patterns: tuple[str, ...] = ()
        self._certificates: tuple[Path, ...] = ()
        self._extended: dict[Path, tuple[Path, ...]] = {}
        self._read: Contents = {}

    def contents(self) -> Contents:
        """What all of them contain now. Blocks."""
        found: Contents = {}
        if self._is_new(found, self._config_file):
            with contextlib.suppress(ConfigError):
                self._patterns = load_config(self._config_file).rule_files
        waiting = [path for pattern in self._patterns for path in rule_files(pattern)]
        while waiting:
            path = waiting.pop()
            if path in found:
                continue
            if self._is_new(found, path):
                extended = extended_files(path)
                self._extended[path] = self._extended.get(path, ()) if extended is None else tuple(extended)
            waiting += self._extended.get(path, ())
        if self._web_config is not None:
            if self._is_new(found, self._web_config):
                with contextlib.suppress(ConfigError):
                    self._certificates = _certificates(self._web_config)
            for path in self._certificates:
                self._is_new(found, path)
        self._read = found
        return found

    def _is_new(self, found: Contents, path: Path) -> bool:
        """Whether a file is another than when it was read last; what it contains is noted."""
        found[path] = _digest(path)
        return found[path] != self._read.get(path)


async def reload_when_changed(
    files: WatchedFiles, loaded: Contents, interval: float, reload: Callable[[], Awaitable[None]]
) -> None:
    """Reload for as long as this runs, whenever the files are others than those loaded, looking once in an interval."""
    while True:
        await asyncio.sleep(interval)
        found = await asyncio.to_thread(files.contents)
        if found == loaded:
            continue
        await asyncio.sleep(min(interval, _SETTLES))
        if await asyncio.to_thread(files.contents) != found:
            # Not at rest yet.
            continue
        log.info("reloads since these changed: %s", ", ".join(map(str, _differing(found, loaded))))
        try:
            await reload()
        except ConfigError:
            # The next change may mend it; until then it would only fail again.
            loaded = found
        except RemediatorError:
            continue
        loaded = found


def _differing(found: Contents, loaded: Contents) -> Iterable[Path]:
    return sorted(path for path in found.keys() | loaded.keys() if found.get(path) != loaded.get(path))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _certificates(web_config: Path) -> tuple[Path, ...]:
    tls = load_web_config(web_config).tls_server_config
    named = () if tls is None else (tls.cert_file, tls.key_file, tls.client_ca_file)
    return tuple(Path(name) for name in named if name)
