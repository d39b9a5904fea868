"""Discovery: a first config and rule file from what a running Prometheus and Alertmanager already know.

One direction: `conventions` are a table of what widely used metrics mean; `survey` asks Prometheus and Alertmanager for
them; `inventory` makes services of the series that were seen; `draft` writes that down as YAML with comments that say
where each thing came from. Only `survey` talks to anybody, and nothing here writes a file. The rules observe: a person
reads them before anything is run.
"""

from __future__ import annotations

from remediator.errors import RemediatorError


class DraftError(RemediatorError):
    """There is nothing to draft rules from, or no place for them; the message says what to do."""
