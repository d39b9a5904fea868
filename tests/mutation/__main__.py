"""Takes single lines out of the code that carries promises, and says which of these changes no test notices.

    PYTHONPATH=tests .venv/bin/python -m mutation [--only WORD] [--jobs 2]

Each change of changes.yml is made in a copy of the package, and the tests that it names are run against the copy. Prints
one line for each, and the score. Exit code 0 when at least 95 % are noticed, 1 when fewer are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutation.changes import ROOT, Change, read_changes

ENOUGH = 0.95
"""The share of the changes that has to be noticed."""
_HANGS = 900.0
"""Seconds after which the tests of one change are taken to hang, which notices it as well."""


def noticed(change: Change) -> str:
    """What noticed the change: a test's name, or `hangs`; empty when nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "remediator", copy / "remediator", ignore=ignored, symlinks=True)
        for beside in ("tests", "rules", "examples", "pyproject.toml", "README.md"):
            (copy / beside).symlink_to(ROOT / beside)
        change.make(copy)
        argv = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
        environment = os.environ | {"PYTHONPATH": f"{copy}:{copy / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [*argv, *change.tests], cwd=copy, env=environment, capture_output=True, text=True, timeout=_HANGS
            )
        except subprocess.TimeoutExpired:
            return "hangs"
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
        if done.returncode == 1 and failed:
            return failed[0].split(" - ")[0].removeprefix("FAILED ")
        if done.returncode:
            raise SystemExit(f"cannot run the tests of {change.name}: {done.stdout}{done.stderr}")
        return ""


def main() -> int:
    """Try every change, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only changes with this in their name or file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    changes = [change for change in read_changes() if given.only in f"{change.name} {change.file}"]
    began, survived = time.monotonic(), 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for change, by in zip(changes, pool.map(noticed, changes), strict=True):
            survived += not by
            print(
                f"{'noticed ' if by else 'SURVIVED'}  {change.name} ({change.file}): {by or change.survives}",
                flush=True,
            )
    score = 1 - survived / max(1, len(changes))
    print(f"{len(changes) - survived} of {len(changes)} noticed ({score:.0%}) in {time.monotonic() - began:.0f} s")
    return int(score < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
