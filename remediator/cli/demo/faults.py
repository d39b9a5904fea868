"""The script: which services there are, what breaks in each, when, and what it takes to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from remediator.cli.demo.processes import Fleet, Spec
from remediator.cli.demo.service import Kind

SPECS = (
    Spec("ledger"),
    Spec("storefront", depends_on="ledger"),
    Spec("search"),
    Spec("payments"),
    Spec("checkout"),
    Spec("reviews", demand=25.0),
    Spec("mailer", tier="worker", demand=5.0),
)


@dataclass(frozen=True)
class Fault:
    """Something that breaks `at` seconds after the beginning.

    `root` names the service whose fault this really is: then there is nothing to `strike`, and healing the root heals
    this one.
    """

    service: str
    at: float
    name: str
    text: str
    strike: Callable[[Fleet], str] | None = None
    root: str = ""


# Far enough apart that web.yml, which heals one of these services at a time, need hold back none, and that no more of
# them are ill at once than remediator takes for the fault of each.
FAULTS = (
    Fault("search", 0, "slow", "answers take six seconds longer", lambda fleet: fleet.inject("search", Kind.SLOW)),
    Fault("checkout", 6, "bad release", "release 2.1.0 has a bug", lambda fleet: fleet.deploy("checkout", "2.1.0")),
    Fault("mailer", 20, "memory leak", "memory grows and grows", lambda fleet: fleet.inject("mailer", Kind.LEAK)),
    Fault("ledger", 30, "errors", "most answers are errors", lambda fleet: fleet.inject("ledger", Kind.ERRORS)),
    Fault("storefront", 30, "dependency", "fails where it asks the ledger", root="ledger"),
    Fault("reviews", 42, "overload", "three times the requests", lambda fleet: fleet.demand("reviews", 3)),
    Fault("payments", 56, "crash", "its process is killed", lambda fleet: fleet.crash("payments")),
)
