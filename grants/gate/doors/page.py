"""The page of a refusal, in the portal's look and in one answer: the gate serves no files of its own."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import NamedTuple

_STYLE = """
:root{color-scheme:light dark;--canvas:light-dark(#f7f7f4,#0e1216);--surface:light-dark(#fff,#151a20);
--ink:light-dark(#1b1f24,#e6e9ee);--quiet:light-dark(#57606a,#9aa4b2);--hairline:light-dark(#e5e5e0,#262d35);
--accent:light-dark(#2b47d1,#a5b6ff);--strong:light-dark(#2038b0,#c0ccff);--on-accent:light-dark(#fff,#0d1536);
--denied:light-dark(#b42318,#ff8a80);--pending:light-dark(#835500,#e3b341);
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Helvetica Neue",sans-serif;
--mono:ui-monospace,"SF Mono","Cascadia Code","JetBrains Mono","DejaVu Sans Mono",monospace}
*{box-sizing:border-box;margin:0}
body{display:grid;min-block-size:100dvh;grid-template-rows:auto 1fr auto;background:var(--canvas);color:var(--ink);
font:400 .875rem/1.5 var(--sans);font-variant-numeric:tabular-nums;overflow-wrap:break-word}
header,footer{padding:1.5rem 2rem}footer{color:var(--quiet);font-size:.8125rem}
.brand{display:inline-flex;align-items:center;gap:.5rem;color:inherit;font-size:1rem;font-weight:620;
text-decoration:none}
main{display:flex;flex-direction:column;gap:1.5rem;inline-size:100%;max-inline-size:42rem;margin:auto;
padding:1.5rem 1.5rem 3rem}
.badge{display:inline-block;padding:0 .5625rem;border:1px solid color-mix(in srgb,var(--tone) 35%,var(--canvas));
border-radius:2rem;background:color-mix(in srgb,var(--tone) 9%,var(--canvas));color:var(--tone);font-size:.8125rem;
font-weight:560;line-height:1.375rem}
.denied{--tone:var(--denied)}.trouble{--tone:var(--pending)}
h1{margin-block:.75rem;font-size:clamp(1.5rem,1.1rem + 1.8vw,2rem);font-weight:620;line-height:1.25;
letter-spacing:-.021em;text-wrap:balance;overflow-wrap:anywhere}
.lead{color:var(--quiet);font-size:1rem}
.actions{display:flex;flex-wrap:wrap;gap:.5rem}
.button{display:inline-flex;align-items:center;min-block-size:2.5rem;padding:0 1rem;border-radius:7px;
border:1px solid color-mix(in srgb,var(--ink) 16%,var(--surface));background:var(--surface);color:var(--ink);
font-size:.9375rem;font-weight:540;text-decoration:none}
.primary{border-color:var(--accent);background:var(--accent);color:var(--on-accent)}
.primary:hover{border-color:var(--strong);background:var(--strong)}
.panel{display:grid;grid-template-columns:1fr auto 1fr;gap:1.5rem;padding:1rem;
border:1px solid var(--hairline);border-radius:12px;background:var(--surface)}
.panel>p{align-self:center}.panel p,.panel a{color:var(--quiet);font-size:.8125rem}
.panel strong{color:var(--ink);font-size:1.1875rem;font-weight:560}
summary{color:var(--quiet);cursor:pointer;font-weight:560}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin-block-start:.75rem}
dt{color:var(--quiet)}dd{font-family:var(--mono);font-size:.93em;overflow-wrap:anywhere}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:5px}
@media (pointer:coarse){.button{min-block-size:2.75rem}}
"""
_MARK = (
    '<svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" '
    'fill="#1f2747"/><path d="M8.5 7v9M23.5 16v9" stroke="#fff" stroke-width="3.5" stroke-linecap="round"/>'
    '<path d="M8.5 16h15" stroke="#ffb84d" stroke-width="5" stroke-linecap="round"/></svg>'
)
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
CSP = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Had(NamedTuple):
    """What the caller has where more is needed."""

    level: str = "nothing"
    until: str = ""
    grant: tuple[str, str] | None = None  # its number, and its page


class Versus(NamedTuple):
    had: Had
    needs: str  # a level
    thing: str  # "on this deployment"


def refused(*, title: str, lead: str, versus: Versus | None, link: str, call: str, code: str, trouble: bool) -> str:
    """All of it is text: nothing that comes in is markup."""
    tone, badge = ("trouble", "Not answered") if trouble else ("denied", "Refused at the gate")
    request = f'<a class="button primary" href="{escape(link)}">Request access</a>' if link else ""
    panel = _panel(versus) if versus else ""
    called = f"<dt>Call</dt><dd>{escape(call)}</dd>" if call else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(title)} · Stint</title>
<style>{_STYLE}</style>
</head>
<body>
<header><span class="brand">{_MARK}Stint</span></header>
<main>
<div><p><span class="badge {tone}">{badge}</span></p><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></div>
<p class="actions">{request}<a class="button" href="/">Back to the start</a></p>
{panel}
<details><summary>What exactly was refused</summary><dl>{called}<dt>Reason</dt><dd>{escape(code)}</dd></dl></details>
</main>
<footer>The portal shows what you may do now, and who decides about the rest.</footer>
</body>
</html>
"""


def _panel(versus: Versus) -> str:
    had, number = versus.had, ""
    if had.grant:
        number = f', grant <a href="{escape(had.grant[1])}">{escape(had.grant[0])}</a>'
    return (
        '<section class="panel" aria-label="What you have and what it needs">'
        f"<div><p>You have</p><p><strong>{escape(had.level)}</strong></p><p>{escape(had.until)}{number}</p></div>"
        '<p aria-hidden="true">→</p>'
        f"<div><p>This needs</p><p><strong>{escape(versus.needs)}</strong></p><p>{escape(versus.thing)}</p></div>"
        "</section>"
    )
