"""Shortens the times in rule files: they are written for production, and their minute is a second in the demo."""

from __future__ import annotations

import re

from remediator.model.durations import format_duration, parse_duration

_TIMES_FASTER = 60
_HEAD = "# Written by `remediator demo`, where a minute takes a second: 5s below is 5m in the file that was read.\n\n"
_DURATION = re.compile(r"(?<![\w.])\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*(?!\w)")


def speed_up(text: str) -> str:
    """The text of a rule file with every duration shortened, in PromQL, rates and comments too.

    The text is changed instead of the loaded rules, so that people can read the file that is used.
    """
    return _HEAD + _DURATION.sub(lambda found: format_duration(parse_duration(found[0]) / _TIMES_FASTER), text)
