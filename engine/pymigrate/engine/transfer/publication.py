"""Puts staged datasets in their place, takes them back, or makes that final: all of one target at once. Each is safe to call again."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.ports.target import Declaring, Target


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a publication met: rows that the target held with other content, and what could not be declared."""

    conflicts: int = 0
    schema_notes: tuple[str, ...] = ()


def publish(stagings: Sequence[Staging], open_target: Callable[[], Target], prepared_key: str = "") -> list[Outcome]:
    """Publishes every staging, in one transaction where the target has them, or ends what was prepared under a key, and tells what each
    of them met. Raises TargetOccupied and MergeConflict."""
    with closing(open_target()) as target:
        if prepared_key:
            target.commit_publication(stagings, prepared_key)
        else:
            target.publish(stagings)
        return [
            Outcome(
                target.conflicts(staging),
                tuple(target.schema_notes(staging)) if isinstance(target, Declaring) else (),
            )
            for staging in stagings
        ]


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
