"""`python -m tests.unit.reference.pages`: writes docs/reference/crds.md and options.md anew."""

from __future__ import annotations

from tests.unit.reference import kinds, options

if __name__ == "__main__":
    kinds.PAGE.write_text(kinds.page())
    options.PAGE.write_text(options.page())
