"""The explanation as one page that needs nothing else: HTML with drawings inside, in two languages."""

from __future__ import annotations

from html import escape

from gaitd.ctl.explain.account import Account
from gaitd.ctl.explain.timeline import draw_timeline
from gaitd.ctl.explain.words.account import HEADINGS
from gaitd.ctl.explain.words.text import Text

WIDE, NARROW = 1000, 400
"""Pixels that a drawing is made for: a desk's screen, and a telephone's."""
_SAYS_SO = 'onchange="document.documentElement.lang=this.id"'
MINUTE_S, SECONDS_S = 60.0, 2.0

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1f24; --soft: #5d6b78; --paper: #ffffff; --card: #f3f5f7;
  --alarm: #c62828; --line: #1565c0; --second: #ef6c00; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6eaee; --soft: #9aa7b3; --paper: #14181c; --card: #1e242a;
  --alarm: #ef5350; --line: #64b5f6; --second: #ffb74d; --good: #66bb6a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 16px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.35rem; margin: 0.4em 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.2em 0 0.3em; }
.when { color: var(--soft); overflow-wrap: anywhere; } li { overflow-wrap: anywhere; }
.tripped, .then { background: var(--card); padding: 10px 14px; border-radius: 4px; }
.tripped { border-left: 5px solid var(--alarm); } .then { border-left: 5px solid var(--good); }
.switch { float: right; } .switch label { cursor: pointer; padding: 2px 10px; border: 1px solid var(--soft); }
input[name=language] { position: absolute; opacity: 0; }
#en:checked ~ * .zh, #zh:checked ~ * .en { display: none; }
#en:checked ~ .switch label[for=en], #zh:checked ~ .switch label[for=zh] {
  background: var(--line); color: #fff; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font-size: 12px; }
svg .soft { fill: var(--soft); } .narrow { display: none; }
@media (max-width: 640px) { .wide { display: none; } .narrow { display: block; } }
"""


def page_of(account: Account) -> str:
    """The whole page."""
    info = account.facts.recording.info
    led = zip(account.history("en"), account.history("zh"), strict=True)
    items = "".join(_both("li", Text(*pair)) for pair in led)
    what = Text(account.what("en"), account.what("zh"))
    source = f"{account.path.name}, {info.bundle}, gaitd {info.gaitd}"
    begins_s = -account.facts.begins_s
    minute = Text("The last minute", "最后一分钟")
    if begins_s < MINUTE_S - 1:
        minute = Text(f"All that was recorded, {begins_s:.0f} s", f"全部记录，{begins_s:.0f} s")
    seconds = Text("The last two seconds", "最后两秒")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(account.what("en"))} {escape(account.path.name)}</title>
<style>{_STYLE}</style></head><body>
<input type="radio" name="language" id="en" checked {_SAYS_SO}>
<input type="radio" name="language" id="zh" {_SAYS_SO}>
<div class="switch"><label for="en">English</label><label for="zh">中文</label></div>
<main>
{_both("h1", HEADINGS["what"])}
<div class="tripped">{_both("div", what)}</div>
<div class="when">{_both("div", Text(account.when("en"), account.when("zh")))}{escape(source)}</div>
{_both("h2", HEADINGS["then"])}
<div class="then">{_both("div", Text(account.then("en"), account.then("zh")))}</div>
{_both("h2", HEADINGS["led"])}
<ul>{items}</ul>
{_both("h2", seconds)}
{_drawings(account, SECONDS_S)}
{_both("h2", minute)}
{_drawings(account, max(SECONDS_S, min(MINUTE_S, begins_s)))}
</main></body></html>
"""


def _both(tag: str, text: Text) -> str:
    return f'<{tag} class="en">{escape(text.en)}</{tag}><{tag} class="zh" lang="zh">{escape(text.zh)}</{tag}>'


def _drawings(account: Account, before_s: float) -> str:
    return "".join(
        f'<div class="{name}">{draw_timeline(account.facts, account.verdict, before_s, width)}</div>'
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    )
