"""What would be done about each alert: as a table for a terminal, and as a page of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from remediator.cli.check.alert_findings import AlertFinding
from remediator.cli.client import clean, one_line, show_table
from remediator.errors import RemediatorError

_COLUMNS = ("alert", "state", "service", "runbook", "would be done")
_LONG = 100
"""Maximum number of characters of a command in the table."""

_PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Alerts and what remediator would do</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color-scheme: light dark }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem;
border-bottom: 1px solid #8884 }} code {{ overflow-wrap: anywhere }} .nothing {{ opacity: .75 }} ul {{ margin: 0; padding-left: 1rem }}
</style>
<h1>Alerts and what remediator would do</h1>
<p>By the alert rules of {url}: {acted} of {total} alerts lead to a step.</p>
<table><thead><tr><th>alert<th>state<th>service<th>runbook<th>would be done</tr></thead><tbody>
{rows}
</tbody></table>
</html>
"""


def show_alerts(findings: Sequence[AlertFinding]) -> None:
    """Print the table."""
    rows = [(one.alert, one.state, _service(one), one.plan.runbook, _deed(one)) for one in findings]
    show_table(_COLUMNS, rows, "Prometheus has no alert rules")
    print()


def write_page(name: str, url: str, findings: Sequence[AlertFinding]) -> None:
    """Write the page. One that is there is replaced as a whole."""
    rows = "\n".join(map(_row, findings))
    acted = sum(not one.plan.reason for one in findings)
    text = _PAGE.format(url=escape(url), acted=acted, total=len(findings), rows=rows)
    file = Path(name)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RemediatorError(f"cannot write {name}: {error.strerror or error}") from None


def _service(finding: AlertFinding) -> str:
    more = f" and {finding.services - 1} more" if finding.services > 1 else ""
    return f"{finding.plan.service}{more}"


def _deed(finding: AlertFinding) -> str:
    plan = finding.plan
    if plan.reason:
        return f"nothing: {plan.reason}"
    call = one_line(plan.call)
    held = next((gate for gate in plan.gates if gate.holds), None)
    return "; ".join(
        filter(
            None,
            (
                plan.step + (f" ({call if len(call) <= _LONG else call[: _LONG - 1] + '…'})" if call else ""),
                plan.condition,
                f"held by {held.gate.replace('_', ' ')}" if held else "",
            ),
        )
    )


def _row(finding: AlertFinding) -> str:
    plan = finding.plan
    labels = ", ".join(f'{name}="{value}"' for name, value in plan.labels.items())
    if plan.reason:
        deed = f"nothing: {_text(plan.reason)}"
    else:
        gates = "".join(
            f"<li>{_text(gate.gate.replace('_', ' '))} {'holds it' if gate.holds else 'would hold it'}: {_text(gate.text)}"
            for gate in plan.gates
        )
        deed = f"{_text(plan.step)} <code>{_text(plan.call)}</code> {_text(plan.condition)}"
        deed += f"<details><summary>gates</summary><ul>{gates}</ul></details>"
    return (
        f'<tr class="{"nothing" if plan.reason else "acts"}"><td title="{_text(labels)}">{_text(finding.alert)}<td>{_text(finding.state)}'
        f"<td>{_text(_service(finding))}<td>{_text(plan.runbook)}<td>{deed}</tr>"
    )


def _text(text: str) -> str:
    return escape(clean(text))
