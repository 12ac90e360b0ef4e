"""Programs that measure; each prints its figures, and other programs call its `measure_*` functions."""
