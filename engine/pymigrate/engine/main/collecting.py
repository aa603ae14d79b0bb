"""How often a process that serves for long looks for garbage in cycles. Nearly all that it makes is freed by counting references; what
Python's own thresholds cost the engine beside it is a quarter of its time where a thousand runs begin at once."""

import gc

# Objects more than were freed, before the youngest are looked through: one call makes some thousands, and frees them at its end.
YOUNG_OBJECTS_MAX = 10_000
YOUNGER_ROUNDS = 10  # of the youngest before those that lived on, and of these before all


def collect_seldom() -> None:
    """Leaves what there is by now out of all collections, for it stays: modules, services, descriptors. Called once the process serves."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, YOUNGER_ROUNDS, YOUNGER_ROUNDS)
