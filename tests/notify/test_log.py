"""Log lines: one for each entry, in logfmt or JSON, whatever the values are."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.model.incident import Entry, EntryKind
from remediator.notify.log import JsonFormatter, LogAnnouncer, LogfmtFormatter, set_up_logging

FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)')


def record(message: str, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("remediator.engine.loop", level, __file__, 1, message, (), None)
    made.created = 1_700_000_000.125
    made.fields = fields
    return made


def test_logfmt() -> None:
    line = LogfmtFormatter().format(record('says "hi"', service="checkout", incident=42, text="a b", empty=""))
    assert line == (
        'ts=2023-11-14T22:13:20.125Z level=info component=engine msg="says \\"hi\\"" service=checkout incident=42'
        ' text="a b" empty=""'
    )


def test_json() -> None:
    line = JsonFormatter().format(record("says", logging.WARNING, service="checkout", incident=42))
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.125Z",
        "level": "warn",
        "component": "engine",
        "msg": "says",
        "service": "checkout",
        "incident": 42,
    }


@pytest.mark.parametrize("formatter", [LogfmtFormatter(), JsonFormatter()])
def test_an_exception_stays_on_the_line(formatter: logging.Formatter) -> None:
    made = record("broke", logging.ERROR)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = formatter.format(made)
    assert "\n" not in line
    assert "ValueError: two\\nlines" in line


@given(st.text(), st.text())
def test_no_value_can_forge_a_line_a_field_or_a_control_sequence(message: str, value: str) -> None:
    line = LogfmtFormatter().format(record(message.replace("%", "%%"), service=value))
    assert line.isprintable()
    assert [found[0] for found in FIELD.findall(line)] == ["ts", "level", "component", "msg", "service"]
    assert FIELD.sub("", line).strip() == ""
    json_line = JsonFormatter().format(record("m", service=value))
    assert json_line.isprintable()
    assert json.loads(json_line)["service"] == value


async def test_one_line_for_each_entry(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data = {"action": "restart", "outcome": "failed", "runbook": "web", "output": "x" * 8000, "exit_code": 1}
    await LogAnnouncer().tell(Entry(9, 1.0, EntryKind.STEP_ENDED, "it failed 100%", "checkout", 4, 7, data))
    (made,) = caplog.records
    assert (made.getMessage(), made.levelname, made.name) == ("it failed 100%", "INFO", "remediator.journal")
    assert made.fields == {  # type: ignore[attr-defined]
        "event": "step_ended",
        "service": "checkout",
        "incident": 4,
        "run": 7,
        "runbook": "web",
        "action": "restart",
        "outcome": "failed",
    }


@pytest.mark.parametrize(("verdict", "level"), [("recovered", "INFO"), ("exhausted", "WARNING")])
async def test_giving_up_is_a_warning(caplog: pytest.LogCaptureFixture, verdict: str, level: str) -> None:
    caplog.set_level(logging.INFO)
    await LogAnnouncer().tell(Entry(9, 1.0, EntryKind.INCIDENT_CLOSED, "t", "s", 4, None, {"verdict": verdict}))
    assert caplog.records[0].levelname == level


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_set_up(capsys: pytest.CaptureFixture[str], format: str) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up_logging("warning", format)
        logging.getLogger("remediator.engine.loop").warning("heard %s", "clearly")
        logging.getLogger("remediator.engine.loop").info("not heard")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], level = before
        root.setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    assert "heard clearly" in line
    assert line.startswith("{" if format == "json" else "ts=")


async def test_a_storm_of_alerts_that_end_alike_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The journal has each; the log of an afternoon stays readable, and writing it costs little."""

    def settled(number: int, text: str, disposition: str = "no_service", gate: str = "") -> Entry:
        data = {"fingerprint": str(number), "disposition": disposition, "gate": gate}
        return Entry(number, 0.0, EntryKind.ALERT_SETTLED, text, "shop" if gate else "", None, None, data)

    entries = [settled(number, "no service in the rule files owns it") for number in range(100)]
    entries.append(Entry(100, 0.0, EntryKind.INCIDENT_OPENED, "is failed", "shop", 1, None, {"runbook": "shop"}))
    entries += [settled(number, f"waits: reason {number % 3}", "held", "cooldown") for number in range(101, 150)]
    entries += [settled(number, "paused", "held", "paused") for number in range(150, 153)]
    with caplog.at_level(logging.INFO):
        await LogAnnouncer().tell_page(entries)
    assert [(record.getMessage(), record.fields.get("alerts")) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("no service in the rule files owns it", 100),
        ("is failed", None),
        ("waits: reason 2, and 2 other reasons", 49),
        *[("paused", None)] * 3,
    ]
