"""The crash sweep: kill -9 at every write boundary and at random, on SQLite and on PostgreSQL with two replicas.

    PYTHONPATH=tests .venv/bin/python -m chaos --kills 1000 --seed 7

Exits with 0 when nothing was lost, run twice, stuck or left behind, and with 1 otherwise; the folder is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.sweep import Sweep


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many kills, over both stores")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="what decides everything random")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), help="only this one")
    given = parser.parse_args()
    stores = [given.store] if given.store else ["sqlite", "postgresql"]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))

    async def run() -> bool:
        sweeps = [Sweep(folder / store, store, given.seed, given.kills // len(stores)) for store in stores]
        good = True
        for report in await asyncio.gather(*(sweep.run() for sweep in sweeps)):
            print("\n".join(report.lines()), flush=True)
            good = good and not any(report.faults.values())
        return good

    good = asyncio.run(run())
    if good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"see {folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
