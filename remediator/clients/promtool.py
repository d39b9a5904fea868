"""Runs promtool, which comes with Prometheus and has its PromQL engine, on a rule or test file."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from remediator.errors import RemoteError


def ask_promtool(command: str, document: object, timeout: float) -> tuple[int, str]:
    """Run `promtool COMMAND rules` on this document. Returns its exit code and output, with the file called `the file`.

    RemoteError when there is no promtool, or it takes longer than `timeout` seconds.
    """
    program = shutil.which("promtool")
    if program is None:
        raise RemoteError("there is no promtool here: install the package prometheus, which has it", retry=False)
    with tempfile.TemporaryDirectory(prefix="remediator-") as folder:
        file = Path(folder) / "document.yml"
        # JSON is YAML, except for its surrogate pairs.
        file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        try:
            done = subprocess.run(
                [program, command, "rules", str(file)], capture_output=True, text=True, check=False, timeout=timeout
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RemoteError(f"cannot run promtool: {error}", retry=False) from None
    return done.returncode, (done.stdout + done.stderr).replace(str(file), "the file")
