"""The changes that the tests have to notice: what each takes out, and where."""

from __future__ import annotations

from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change. `find` occurs exactly once in the file and becomes `put`; `tests` are paths for pytest."""

    name: str
    file: str
    find: str
    put: str
    tests: tuple[str, ...]
    survives: str = ""
    """Why no test can notice it, where that is so."""

    def make(self, root: Path) -> None:
        """Change the file below this folder."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.find) != 1:
            raise ValueError(
                f"cannot change {self.file} for '{self.name}': {self.find!r} is there {text.count(self.find)} times"
            )
        path.write_text(text.replace(self.find, self.put), encoding="utf-8")


def read_changes() -> list[Change]:
    """All of changes.yml."""
    import yaml

    text = Path(__file__).with_name("changes.yml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), list[Change])
