"""The script: which services there are, what breaks in each, when, and what it takes to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from remediator.demo.fleet import Fleet, Spec
from remediator.demo.service import Kind

SPECS = (
    Spec("ledger"),
    Spec("storefront", depends_on="ledger"),
    Spec("search"),
    Spec("payments"),
    Spec("checkout"),
    Spec("reviews", demand=25.0),
    Spec("mailer", demand=5.0),
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


FAULTS = (
    Fault("search", 0, "slow", "answers take a second longer", lambda fleet: fleet.inject("search", Kind.SLOW)),
    Fault("ledger", 8, "errors", "most answers are errors", lambda fleet: fleet.inject("ledger", Kind.ERRORS)),
    Fault("storefront", 8, "dependency", "fails where it asks the ledger", root="ledger"),
    Fault("payments", 20, "crash", "its process is killed", lambda fleet: fleet.crash("payments")),
    Fault("checkout", 28, "bad release", "release 2.1.0 has a bug", lambda fleet: fleet.deploy("checkout", "2.1.0")),
    Fault("reviews", 38, "overload", "three times the requests", lambda fleet: fleet.demand("reviews", 3)),
    Fault("mailer", 46, "memory leak", "memory grows and grows", lambda fleet: fleet.inject("mailer", Kind.LEAK)),
)
