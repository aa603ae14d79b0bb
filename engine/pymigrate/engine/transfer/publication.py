"""Puts staged datasets in their place, or takes them back: all of one target at once."""

from collections.abc import Callable, Sequence

from pymigrate.engine.ports.connector import Staging, Target


def publish(stagings: Sequence[Staging], open_target: Callable[[], Target]) -> None:
    """Publishes every staging, in one transaction where the target has them. Safe to call again. Raises TargetOccupied."""
    target = open_target()
    try:
        target.publish(stagings)
    finally:
        target.close()


def rollback(stagings: Sequence[Staging], open_target: Callable[[], Target]) -> None:
    """Drops what is only staged and puts back what publication replaced. Safe to call again. Raises CannotUndo."""
    target = open_target()
    try:
        target.rollback(stagings)
    finally:
        target.close()
