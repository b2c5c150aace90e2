"""The fault table as one HTML file that needs nothing else, on a screen as narrow as a phone's too."""

from __future__ import annotations

import html
from typing import Any

from gaitd.ctl.rehearse.table import bad_rows, notes

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto;
  padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.number { text-align: right; white-space: nowrap }
.ok { color: #176f2c } .bad { color: #a11212; font-weight: 600 }
.why { color: #a11212; font-size: .9rem }
@media (max-width: 40rem) {
  thead { display: none }
  tr { display: block; border: 1px solid #ddd; border-radius: .4rem; margin: .6rem 0; padding: .3rem 0 }
  td, td.number { display: flex; justify-content: space-between; gap: 1rem; border: 0; text-align: right;
    white-space: normal }
  td::before { content: attr(data-title); color: #666; text-align: left }
}
"""
_COLUMNS = ("fault", "from the fault", "from the last command", "bound", "reason", "ready again", "verdict")


def as_page(table: dict[str, Any]) -> str:
    """The whole file."""
    bad = bad_rows(table)
    rows = "\n".join(_row(row, table["period_ms"]) for row in table["rows"])
    head = "".join(f"<th>{title}</th>" for title in _COLUMNS)
    summary = (
        f'<p class="bad">Not within their bounds, or not measured: {_text(", ".join(bad))}.</p>'
        if bad
        else '<p class="ok">Every row is within its bound.</p>'
    )
    notes_html = "".join(f"<li>{_text(note)}</li>" for note in notes(table))
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The fault table of this robot</title>
<style>{_STYLE}</style>
<h1>The fault table of this robot</h1>
{summary}
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<ul>{notes_html}</ul>
</html>
"""


def _row(row: dict[str, Any], period_ms: float) -> str:
    why = "".join(f'<div class="why">{_text(text)}</div>' for text in row["why"])
    command = row["from_command_ms"]
    ready = row["ready_s"]
    cells = (
        f"<span>{_text(row['fault'])}{why}</span>",
        "" if row["from_fault_ms"] is None else f"{row['from_fault_ms']:.1f} ms",
        "" if command is None else f"{command:.1f} ms ({command / period_ms:.2f} T)",
        _text(row["bound"]),
        _text(row["reason"]),
        "" if ready is None else f"{ready:.1f} s",
        f'<span class="{"ok" if row["verdict"] == "ok" else "bad"}">{_text(row["verdict"])}</span>',
    )
    numbers = (1, 2, 5)
    columns = enumerate(zip(_COLUMNS, cells, strict=True))
    return f"<tr>{''.join(_cell(*column, index in numbers) for index, column in columns)}</tr>"


def _cell(title: str, content: str, number: bool) -> str:
    kind = ' class="number"' if number else ""
    return f'<td{kind} data-title="{title}">{content or "-"}</td>'


def _text(text: str) -> str:
    return html.escape(str(text))
