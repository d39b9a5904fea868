"""Discovery: a first config and rule file from what a running Prometheus and Alertmanager already know.

One direction: `conventions` are a table of what widely used metrics mean; `questions` makes expressions of it for the
metrics that are there; `survey` asks Prometheus and Alertmanager, and comes back with `sightings`; `inventory` makes
services of what was seen; `draft` writes them down as YAML, with comments that say where each thing came from. Only
`survey` talks to anybody, and nothing here writes a file. The rules observe: a person reads them before anything is run.
"""

from __future__ import annotations

from remediator.errors import RemediatorError


class DraftError(RemediatorError):
    """There is nothing to draft rules from, or no place for them; the message says what to do."""
