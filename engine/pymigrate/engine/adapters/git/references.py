"""References in git's words: the full name that one has, and what a person is told of it."""

from typing import assert_never

from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.domain.git_names import NAME_CHARACTERS_MAX, branch_problem
from pymigrate.engine.ports.repository import Reference, ReferenceKind


def name_of(reference: Reference) -> str:
    """The full name. Raises RepositoryRefused with REFERENCE_MISSING for what git allows no reference to be called."""
    text = name = reference.text
    match reference.kind:
        case ReferenceKind.DEFAULT:
            return "HEAD"
        case ReferenceKind.BRANCH:
            name = f"refs/heads/{text}"
        case ReferenceKind.TAG:
            name = f"refs/tags/{text}"
        case ReferenceKind.NAME:
            pass
        case ReferenceKind.COMMIT:
            raise RepositoryRefused("REFERENCE_MISSING", f"{text} is a commit, and no name")
        case _ as unreachable:
            assert_never(unreachable)
    problem = branch_problem(text) or ("" if name.startswith("refs/") else "must begin with `refs/`")
    if problem:
        raise RepositoryRefused(
            "REFERENCE_MISSING", f"{text[:NAME_CHARACTERS_MAX]!r} is no {reference.kind}: it {problem}"
        )
    return name


def in_words(reference: Reference) -> str:
    """What it is called in a sentence."""
    if reference.kind is ReferenceKind.DEFAULT:
        return "branch that it says is its own (HEAD)"
    return f"{'reference' if reference.kind is ReferenceKind.NAME else reference.kind} `{reference.text}`"
