"""`python -m tests.unit.reference.pages`: writes docs/reference/crds.md, options.md and election.md anew."""

from __future__ import annotations

from tests.unit.reference import election, kinds, options

if __name__ == "__main__":
    kinds.PAGE.write_text(kinds.page())
    options.PAGE.write_text(options.page())
    election.PAGE.write_text(election.page())
