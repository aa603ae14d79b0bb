"""Which transaction writes, and which ones are over: what a database with many writers needs so that its stream can be followed.

Such a database numbers rows when they are written and shows them when their transaction commits. A transaction below the oldest one that
is under way will show nothing more, so a place among these is a place that nothing can appear before any more.
"""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.visitors import InternalTraversal


class WritingTransaction(ColumnElement[int]):
    """The number of the transaction that the statement is part of; 0 where only one writes at a time."""

    inherit_cache = True
    # Nothing of it differs: without this a statement that has it would be compiled at each use.
    _traverse_internals: list[tuple[str, InternalTraversal]] = []  # noqa: RUF012 (the base class has it so)
    type = BigInteger()


class OldestTransaction(ColumnElement[int]):
    """The lowest number of a transaction that was under way when the statement's snapshot was taken."""

    inherit_cache = True
    # Nothing of it differs: without this a statement that has it would be compiled at each use.
    _traverse_internals: list[tuple[str, InternalTraversal]] = []  # noqa: RUF012 (the base class has it so)
    type = BigInteger()


@compiles(WritingTransaction)
def _one_writer(element: WritingTransaction, compiler: SQLCompiler, **_: Any) -> str:
    return "0"


@compiles(WritingTransaction, "postgresql")
def _many_writers(element: WritingTransaction, compiler: SQLCompiler, **_: Any) -> str:
    return "pg_current_xact_id()::text::bigint"


@compiles(OldestTransaction, "postgresql")
def _oldest(element: OldestTransaction, compiler: SQLCompiler, **_: Any) -> str:
    return "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
