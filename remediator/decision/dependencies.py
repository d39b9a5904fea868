"""Root causes: the dependencies of a service that are in trouble, and have no troubled dependency themselves. Pure."""

from __future__ import annotations

from collections.abc import Callable

from remediator.decision.case import Dependency
from remediator.model.rules import Service


def root_causes(
    service: Service, find: Callable[[str], Service | None], look: Callable[[Service], Dependency | None]
) -> tuple[Dependency, ...]:
    """The root causes below a service: direct or indirect dependencies that have to be healed before it, or were healed
    a while ago.

    `find` returns the service of a name, or None. `look` assesses one service alone: it is in trouble or cannot be
    seen, or it was healed; or None. Dependencies may form diamonds, long chains and, where names are templates,
    circles.
    """
    roots: dict[str, Dependency] = {}
    order = _depth_first(service, find)
    troubled: dict[str, bool] = {}
    # Dependencies come first, so for each service the state of all its dependencies is known.
    for below in order:
        if any(troubled.get(name, False) for name in below.depends_on):
            troubled[below.name] = True
            continue
        said = look(below)
        troubled[below.name] = said is not None and said.healed_at is None
        if said is not None:
            roots[below.name] = said
    return tuple(roots.values())


def _depth_first(service: Service, find: Callable[[str], Service | None]) -> list[Service]:
    """All dependencies of a service. Each comes once, after its own dependencies. The stack is an explicit one, because
    chains may be longer than Python's stack allows."""
    order: list[Service] = []
    seen = {service.name}
    trail = [(service, iter(service.depends_on))]
    while trail:
        above, names = trail[-1]
        name = next(names, None)
        if name is None:
            trail.pop()
            order.append(above)
        elif name not in seen:
            seen.add(name)
            below = find(name)
            if below is not None:
                trail.append((below, iter(below.depends_on)))
    return order[:-1]
