"""The kind of Git sources, with the checks that need the store: what must exist, and who still needs what."""

from collections.abc import Iterator
from dataclasses import replace

from pymigrate.engine.application.declared_backends import reference_problems
from pymigrate.engine.application.gitops.git_source_definitions import git_source_problems
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import children
from pymigrate.engine.application.references import references_in
from pymigrate.engine.domain.errors import FailedPrecondition, Problem
from pymigrate.engine.domain.names import is_id, last_segment, nearest
from pymigrate.engine.ports.secrets import OWN_SCHEMES
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2

COLLECTION = "gitSources"
OWNER = "git/"
HANDED_AT_ONCE_MAX = 500


def owner_of(name: str) -> str:
    """Which side the objects are of that a source declares: `git/warehouse` of `gitSources/warehouse`. No caller can be that."""
    return f"{OWNER}{last_segment(name)}"


def source_of(owner: str) -> str:
    """The source's resource name of the side of its objects; empty where another side declares them."""
    return f"{COLLECTION}/{owner.removeprefix(OWNER)}" if owner.startswith(OWNER) else ""


def sources_in(unit: Unit) -> Iterator[git_source_pb2.GitSource]:
    """Every source, by name."""
    return (GIT_SOURCES.read(found) for found in children(unit, COLLECTION, ""))


def _check(unit: Unit, source: git_source_pb2.GitSource) -> Iterator[Problem]:
    yield from git_source_problems(source)
    stored = unit.resources.get(source.name)
    before = GIT_SOURCES.read(stored).environment if stored is not None else source.environment
    if before != source.environment and unit.resources.owned(owner_of(source.name)):
        said = (
            f"can't change while it declares objects of `{before}`" if before else "can't be set while it declares any"
        )
        yield Problem("environment", f"{said}: delete the source, which keeps them, and create it anew")
    if not source.environment:
        for field, ref, _ in references_in(source, ()):
            if ref.scheme not in OWN_SCHEMES:
                yield Problem(
                    field, f"`{ref.scheme}` is a secret backend of an environment: set `environment` to which one"
                )
    elif is_id(source.environment):
        yield from reference_problems(unit, f"environments/{source.environment}", source)
    promoted = source.promotion.promoted_from
    if (
        is_id(promoted)
        and promoted != last_segment(source.name)
        and unit.resources.get(f"{COLLECTION}/{promoted}") is None
    ):
        known = (last_segment(name) for name in unit.resources.names(COLLECTION, ""))
        said = f"there is no Git source `{promoted}`{nearest(promoted, known)}"
        yield Problem("promotion.promoted_from", said, is_missing=True)


def _free(unit: Unit, source: git_source_pb2.GitSource) -> None:
    for other in sources_in(unit):
        if other.promotion.promoted_from == last_segment(source.name):
            raise FailedPrecondition(
                f"{source.name} is needed by {other.name}, which is promoted from it: change that first"
            )


def _leave(unit: Unit, source: git_source_pb2.GitSource) -> None:
    """What it declared is its own side's from now on: that of whoever may delete it. What is kept of it goes."""
    names = [name for name, _, _ in unit.resources.owned(owner_of(source.name))]
    for at in range(0, len(names), HANDED_AT_ONCE_MAX):
        for each in unit.resources.get_all(names[at : at + HANDED_AT_ONCE_MAX]):
            handed = replace(each, managed_by=source.managed_by, version=each.version + 1)
            unit.resources.update(handed, each.version)
    unit.git_records.drop(source.uid)


GIT_SOURCES = Kind(
    COLLECTION,
    git_source_pb2.GitSource,
    _check,
    _free,
    output_only=frozenset({"status"}),
    on_delete=_leave,
)
