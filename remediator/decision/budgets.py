"""The arithmetic of budgets: when a rate has room again, and until when a breaker stays open. Pure.

Only a verified recovery that lasts resets a budget. Everything else decays with time, so no service is given up for
ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remediator.model.incident import IncidentSummary, Verdict
from remediator.model.rules import Rate


def spent_until(rate: Rate, starts: Iterable[float], now: float) -> float | None:
    """When the rate's window has room for another start. None if it has room now."""
    inside = sorted(start for start in starts if start + rate.window > now)
    return inside[-rate.count] + rate.window if len(inside) >= rate.count else None


def failures(closings: Sequence[IncidentSummary], relapse_of: int | None) -> list[float]:
    """When incidents ended without lasting help since the last recovery that lasted, the oldest first.

    These are the incidents that were exhausted after something was run, and those whose recovery a relapse followed.
    `relapse_of` is the incident that the present one relapsed from, if it did.
    """
    relapsed = {closing.relapse_of for closing in closings} | {relapse_of}
    ends: list[float] = []
    for closing in closings:
        exhausted = closing.verdict is Verdict.EXHAUSTED and closing.ran
        if exhausted or (closing.verdict is Verdict.RECOVERED and closing.id in relapsed):
            ends.append(closing.closed_at)
        elif closing.verdict is Verdict.RECOVERED:
            ends.clear()
    return ends


def tripped_until(rate: Rate, ends: Sequence[float]) -> float | None:
    """Until when a breaker that allows `rate.count` failures in its window stays open. None if it never opened.

    It stays open for as long as its window. After that it is half open: the next attempt decides, and a failure opens
    it at once again (as Nygard's circuit breaker does, and Envoy's outlier detection).
    """
    until: float | None = None
    recent: list[float] = []
    for end in ends:
        recent = [*(other for other in recent if other + rate.window > end), end]
        if until is not None or len(recent) >= rate.count:
            until = end + rate.window
    return until
