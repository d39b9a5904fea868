"""The receiver beside a bare one (bare_receiver.py), in the same run, under the load of wrk (Debian's package wrk).

    .venv/bin/python tests/bench/receiver.py [--seconds 6] [--rounds 3]

32 connections post notifications of one alert each, answered when it is committed: new ones, then one and the same again
and again. Both servers get the same load in turn, so that a machine whose speed varies favours neither; the median of the
rounds' ratios is what counts. The load generator is a program in C and needs less than one core of two.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from real.prometheus import free_port, part
from real.remediator import RealRemediator

LOAD = """
local number = 0
local thread_number = 0
function setup(thread) thread:set("id", thread_number); thread_number = thread_number + 1 end
request = function()
  %s
  local body = string.format('{"version":"4","groupKey":"g","status":"firing","receiver":"remediator","groupLabels":{},' ..
    '"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am:9093","alerts":[{"status":"firing",' ..
    '"labels":{"alertname":"Down","instance":"%s-%%d-%%d","severity":"critical","job":"node","cluster":"eu-1"},' ..
    '"annotations":{"summary":"It is down.","runbook_url":"https://runbooks.example.org/Down"},' ..
    '"startsAt":"2026-11-28T10:00:00.000Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p:9090/graph",' ..
    '"fingerprint":"%%08x%%08x"}]}', id, number, id, number)
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
end
done = function(summary, latency, requests)
  io.write(string.format("BENCH %%d %%d %%d %%.3f %%.3f\\n", summary.requests, summary.errors.status,
    summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""
RULES = "services: [{name: shop}]\n"


def load(folder: Path, url: str, seconds: int, *, new: bool, tag: str) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds; fails when any was refused."""
    script = folder / "load.lua"
    script.write_text(LOAD % ("number = number + 1" if new else "", tag))
    argv = [part("wrk", "wrk"), "-t1", "-c32", f"-d{seconds}s", f"-s{script}", url]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = re.search(r"BENCH (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", text)
    assert found, text
    assert found[2] == "0", text
    return int(found[1]) / (int(found[3]) / 1e6), float(found[5])


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[str]:
    """The bare receiver's address."""
    port = free_port()
    program = Path(__file__).with_name("bare_receiver.py")
    process = subprocess.Popen([sys.executable, str(program), str(port), str(folder / "bare.db")])
    url = f"http://127.0.0.1:{port}/webhook"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(url, data=b'{"alerts":[]}'), timeout=5)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        ours = RealRemediator(folder / "remediator", prometheus="http://127.0.0.1:9", rules=RULES)
        ours.start()
        try:
            with bare(folder) as url:
                print(
                    f"{'receiver, 32 connections':<26}{'bare':>10}{'ours':>10}{'ratio':>8}{'p99 bare':>12}{'p99 ours':>12}"
                )
                for title, new in (("new alerts", True), ("repeats", False)):
                    rounds = []
                    for number in range(given.rounds):
                        tag = f"r{number}"
                        rounds.append(
                            (
                                load(folder, url, given.seconds, new=new, tag=tag),
                                load(folder, ours.webhook, given.seconds, new=new, tag=tag),
                            )
                        )
                    base, mine = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
                    ratio = statistics.median(pair[1][0] / pair[0][0] for pair in rounds)
                    slow = [statistics.median(pair[side][1] for pair in rounds) for side in (0, 1)]
                    print(f"{title:<26}{base:>8.0f}/s{mine:>8.0f}/s{ratio:>8.2f}{slow[0]:>9.1f} ms{slow[1]:>9.1f} ms")
        finally:
            ours.kill()


if __name__ == "__main__":
    main()
