"""Errors as they may leave a process: without any secret that it knows of."""

from collections.abc import Callable

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, PyMigrateError

Clean = Callable[[str], str]


def redacted(error: PyMigrateError, clean: Clean) -> PyMigrateError:
    """The same error, with nothing in its words that `clean` takes out."""
    error.message, error.field = clean(error.message), clean(error.field)
    if isinstance(error, InvalidDefinition):
        error.problems = tuple(Problem(clean(each.field), clean(each.description)) for each in error.problems)
    return error
