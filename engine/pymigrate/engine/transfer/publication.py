"""Puts staged datasets in their place, takes them back, or makes that final: all of one target at once. Each is safe to call again."""

from collections.abc import Callable, Sequence
from contextlib import closing

from pymigrate.engine.ports.connector import Staging, Target


def publish(stagings: Sequence[Staging], open_target: Callable[[], Target], prepared_key: str = "") -> list[int]:
    """Publishes every staging, in one transaction where the target has them, or ends what was prepared under a key. The conflicts that
    each of them met. Raises TargetOccupied and MergeConflict."""
    with closing(open_target()) as target:
        if prepared_key:
            target.commit_publication(stagings, prepared_key)
        else:
            target.publish(stagings)
        return [target.conflicts(staging) for staging in stagings]


def prepare(stagings: Sequence[Staging], key: str, open_target: Callable[[], Target]) -> bool:
    """Prepares a publication that takes place in several targets; False where the target can't."""
    with closing(open_target()) as target:
        return target.prepare_publication(stagings, key)


def rollback(stagings: Sequence[Staging], open_target: Callable[[], Target], prepared_key: str = "") -> None:
    """Gives up what may be prepared under a key, drops what is only staged, and undoes what is published. Raises CannotUndo."""
    with closing(open_target()) as target:
        if prepared_key:
            target.abort_publication(prepared_key)
        target.rollback(stagings)


def seal(stagings: Sequence[Staging], open_target: Callable[[], Target]) -> None:
    """Drops what publication kept for the way back."""
    with closing(open_target()) as target:
        target.seal(stagings)
