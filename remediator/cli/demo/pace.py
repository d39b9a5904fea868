"""The demo's pace: rules are written for production, and a minute of theirs takes a second in the demo."""

from __future__ import annotations

import re

from remediator.model.durations import format_duration, parse_duration

_TIMES_FASTER = 60
_HEAD = "# Written by `remediator demo`, where a minute takes a second: 5s below is 5m in the file that was read.\n\n"
_DURATION = re.compile(r"(?<![\w.])\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*(?!\w)")


def speed_up(text: str) -> str:
    """The text of a rule file with every duration shortened, in PromQL, rates and comments as well.

    It is the text that is changed, and not the rules as loaded, so that people can read what is written.
    """
    return _HEAD + _DURATION.sub(lambda found: format_duration(parse_duration(found[0]) / _TIMES_FASTER), text)
