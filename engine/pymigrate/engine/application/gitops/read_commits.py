"""A commit of a source as it was read, before anything of it is staged."""

from collections.abc import Collection
from dataclasses import dataclass

from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.pass_drafts import Looked
from pymigrate.engine.application.gitops.source_reading import Target


@dataclass(frozen=True, slots=True)
class ReadCommit:
    """`looked`: the source as it was then; `read`: what the commit declares; `reverted`: the numbers of the revisions that brought plans
    which are declared no longer, and which the commits up to this one say they revert."""

    looked: Looked
    target: Target
    read: DefinitionsRead
    reverted: Collection[int] = ()
