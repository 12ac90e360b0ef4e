"""The page's style: light and dark, on a screen of 360 pixels and on a wall; and the hash that lets it through."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

STYLE: Final = """\
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1b1b; --line: #d0d0d0; --dim: #616161; --link: #0b57d0;
  --bad: #b3261e; --warn: #8a5300; --good: #1b6e36; --alarm-back: #b3261e; --alarm-text: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --text: #e6e6e6; --line: #3a3d42; --dim: #a0a4aa;
  --link: #8ab4f8; --bad: #ff8a80; --warn: #ffb95c; --good: #7bd88f; --alarm-back: #8c1d18; --alarm-text: #ffffff; } }
body { background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto;
  max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; } a { color: var(--link); }
header { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: baseline; justify-content: space-between; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--dim); }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; } td[data-label="Service"], td[data-label="Pool"] { min-width: 11rem; }
code { font-size: .93em; } code, .use { white-space: nowrap; font-variant-numeric: tabular-nums; }
code.range { white-space: normal; } .good { white-space: nowrap; }
meter { width: 9rem; height: .9rem; vertical-align: -.1rem; } .dim { color: var(--dim); }
.bad { color: var(--bad); } .warn { color: var(--warn); } .good { color: var(--good); }
form { margin: .8rem 0; } input { font: inherit; max-width: 100%; box-sizing: border-box; }
.alarm { background: var(--alarm-back); color: var(--alarm-text); padding: .8rem 1rem; margin: 0 0 1.2rem;
  border-radius: .3rem; } .alarm h2 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
.alarm th, .alarm .dim, .alarm td::before { color: var(--alarm-text); } .alarm table { font-size: 1.05rem; }
@media (max-width: 45rem) {
  body { margin-top: .7rem; padding: 0 .7rem; } thead { display: none; } .alarm h2 { font-size: 1.35rem; }
  tr { display: block; padding: .35rem 0; border-bottom: 1px solid var(--line); } tbody, table { display: block; }
  td { display: block; position: relative; min-height: 1.45em; padding: .1rem 0 .1rem 7.2rem; border: 0; }
  td::before { content: attr(data-label); position: absolute; left: 0; width: 6.8rem; color: var(--dim); }
  td:empty { display: none; } code { white-space: normal; } meter { width: 6rem; }
  button, input { min-height: 2.4rem; }
}
"""

STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""What a Content-Security-Policy names to let exactly this style through."""
