"""`python -m tests.unit.reference.pages`: writes the generated pages of docs/reference anew."""

from __future__ import annotations

from tests.unit.reference import doctor, election, kinds, options

if __name__ == "__main__":
    kinds.PAGE.write_text(kinds.page())
    options.PAGE.write_text(options.page())
    election.PAGE.write_text(election.page())
    doctor.PAGE.write_text(doctor.page())
