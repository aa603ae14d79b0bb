"""Texts that a statement asks for as rows of their own, whatever their number: one parameter, so that the statement stays the same."""

from collections.abc import Iterable
from typing import Any

import orjson
from sqlalchemy import TableValuedAlias, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Texts(FunctionElement[str]):
    """The texts of a JSON array, as a table with the column `value`."""

    name = "texts"
    inherit_cache = True
    type = Text()


@compiles(_Texts)
def _embedded(element: _Texts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Texts, "postgresql")
def _served(element: _Texts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS JSON))"


def asked() -> TableValuedAlias:
    """A table of what the parameter `asked` holds."""
    return _Texts(bindparam("asked", type_=Text())).table_valued("value", name="asked_texts")


def asking(texts: Iterable[str]) -> dict[str, str]:
    """The parameter."""
    return {"asked": orjson.dumps(sorted(set(texts))).decode()}
