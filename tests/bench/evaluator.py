"""What a round of evaluating costs with many services, beside the bare cost of its queries. Prints a table.

    python tests/bench/evaluator.py [--services 10000] [--rounds 7]

A real Prometheus holds one series per service for each of three thresholds. The bare cost is that of the same three
queries through prometheus-api-client as it comes, in three threads at once and one after another; rounds and bare
queries are run in turn, so that both meet the same machine. The loop's longest stall is measured by a task that wants
its turn every millisecond.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_api_client import PrometheusConnect
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from real.prometheus import Exposition, RealPrometheus, in_thread, until

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.client import Prometheus
from remediator.engine.evaluator import Evaluator
from remediator.metrics import Metrics
from remediator.model.clock import SystemClock
from remediator.model.health import Comparison, Health
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Threshold

METRICS = ("error_ratio", "latency_seconds", "saturation")


def rulebook(services: int) -> Rulebook:
    """Plain services that own the series of their name, and three thresholds over all of them."""
    names = [f"service-{number}" for number in range(services)]
    return Rulebook(
        [Service(name, {"service": name, "tier": "web"}, (Matcher("service", "=", name),)) for name in names],
        [
            Threshold(
                metric,
                f"max by (service) ({metric})",
                (Matcher("tier", "=", "web"),),
                Comparison(">=", 0.5),
                Comparison(">", 0.9),
                for_=15.0,
                keep_for=30.0,
                unit="ratio",
            )
            for metric in METRICS
        ],
    )


def exposition(services: int, value: float) -> str:
    """One series per service and threshold."""
    return "".join(f'{metric}{{service="service-{n}"}} {value}\n' for metric in METRICS for n in range(services))


class Stalls:
    """How long the event loop kept a task waiting that wants its turn every millisecond: by the clock, and by what this
    process computed meanwhile. On a machine with other work the clock also counts the turns of others."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.computing = 0.0

    async def watch(self) -> None:
        while True:
            before, computed = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            stall = time.perf_counter() - before - 0.001
            self.longest = max(self.longest, stall)
            self.computing = max(self.computing, min(stall, time.process_time() - computed))


async def timed(work) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def measure(services: int, rounds: int, folder: Path) -> Table:
    rules = rulebook(services)
    expressions = [threshold.expr for threshold in rules.thresholds]
    with Exposition(exposition(services, 0.1)) as source:
        async with RealPrometheus(folder, targets=[source.address], interval="30s") as server:
            await until(in_thread(lambda: server.query("count(saturation)")), within=60)
            bare = PrometheusConnect(server.url)
            threads = ThreadPoolExecutor(3)
            loop = asyncio.get_running_loop()

            async def together() -> None:
                await asyncio.gather(*(loop.run_in_executor(threads, bare.custom_query, e) for e in expressions))

            async def in_turn() -> None:
                for expression in expressions:
                    await loop.run_in_executor(threads, bare.custom_query, expression)

            await together()
            gc.collect()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            metrics = Metrics()
            client = Prometheus(HttpClient(server.url), query_timeout=30, metrics=metrics)
            heard = []

            async def intake(alerts) -> None:
                heard.extend(alerts)

            evaluator = Evaluator(
                rules,
                client.query_blocking,
                clock=SystemClock(),
                metrics=metrics,
                interval=5,
                stale_after=30,
                intake=intake,
            )
            first = await timed(evaluator.evaluate_now())
            judged = [evaluator.judgement(service, time.time()).health for service in rules.services]
            assert all(health is Health.HEALTHY for health in judged), set(judged)
            ours, bare_together, bare_in_turn = [], [], []
            stalls, bare_stalls, idle_stalls = Stalls(), Stalls(), Stalls()
            for _ in range(rounds):
                task = asyncio.create_task(bare_stalls.watch())
                bare_together.append(await timed(together()))
                task.cancel()
                bare_in_turn.append(await timed(in_turn()))
                task = asyncio.create_task(stalls.watch())
                ours.append(await timed(evaluator.evaluate_now()))
                task.cancel()
                task = asyncio.create_task(idle_stalls.watch())
                await asyncio.sleep(ours[-1])
                task.cancel()
            asked = metrics.registry.get_sample_value("remediator_queries_total", {"result": "seen"})
            gc.collect()
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            evaluator.close()
            await client.close()
            bare.close()
            threads.shutdown()

    middle = statistics.median
    table = Table(title=f"{services} services under {len(METRICS)} thresholds, {rounds} rounds")
    table.add_column("")
    table.add_column("ours", justify="right")
    table.add_column("bare", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("at most", justify="right")

    def row(name: str, own: float, plain: float, limit: str) -> None:
        table.add_row(name, f"{own * 1000:.0f} ms", f"{plain * 1000:.0f} ms", f"{own / plain:.2f}", limit)

    row("a round, beside its 3 queries at once (median)", middle(ours), middle(bare_together), "2")
    row("a round, beside its 3 queries in turn (median)", middle(ours), middle(bare_in_turn), "")
    row("the first round", first, middle(bare_together), "")
    row("longest stall of the event loop, by what was computed", stalls.computing, bare_stalls.computing, "50 ms")
    row("longest stall of the event loop, by the clock", stalls.longest, bare_stalls.longest, "")
    table.add_row("… of an idle one, as the machine has it", "", f"{idle_stalls.longest * 1000:.0f} ms", "", "")
    table.add_row("queries per round", f"{asked / (rounds + 1):g}", "3", "", "3")
    table.add_row("peak memory of it all over the bare client's", f"{grown / 1024:.0f} MiB", "", "", "")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = asyncio.run(measure(args.services, args.rounds, Path(folder)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
