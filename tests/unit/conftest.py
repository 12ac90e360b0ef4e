"""What holds for every unit test."""

from hypothesis import settings

from tests.unit.effort import examples

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None, max_examples=examples(100))
settings.load_profile("untimed")
