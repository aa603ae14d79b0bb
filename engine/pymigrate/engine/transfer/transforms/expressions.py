"""Which SQL an expression of a definition may hold: whatever is computed from one row alone, the same each time.

An expression is parsed by DuckDB, and its tree looked at before it is ever bound: only columns that are there, only DuckDB's own
functions of which its catalogue says that they are scalar and always answer alike. No subquery, aggregate or window (they would depend on
where a batch ends), no chance, clock, setting or file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from pymigrate.engine.domain.names import nearest

EXPRESSION_CHARACTERS_MAX = 10_000
NODES_MAX = 10_000
_PLAIN = frozenset(
    {
        *("FUNCTION", "COLUMN_REF", "CONSTANT", "CAST", "COMPARISON", "CONJUNCTION", "OPERATOR", "CASE"),
        *("BETWEEN", "COLLATE", "TYPE"),
    }
)
_NOT_ALLOWED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function: what it gives would depend on where a batch ends",
    "STAR": "`*`: name the columns",
    "LAMBDA": "a lambda",
    "LAMBDA_REF": "a lambda",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column's number: use its name",
}
# Macros of DuckDB's own that only spell a scalar expression.
_MACROS = frozenset(
    {
        *("nullif", "split_part", "fdiv", "fmod", "round_even", "roundbankers", "days_in_month", "date_add"),
        "array_to_string",
    }
)
# Of these the catalogue says that they always answer alike, and they read the clock, a setting or the version.
_NOT_CONSISTENT = frozenset(
    {"current_localtime", "current_localtimestamp", "current_setting", "getvariable", "version", "age"}
)
_PARTS = ("modifiers", "where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")
# With two arguments it does not ask for the time.
_ALONE = frozenset({"age"})


def allowed_functions(connection: duckdb.DuckDBPyConnection) -> Mapping[str, bool]:
    """Whether a function of DuckDB's may be used, by its name. A table function of the same name can't be meant within an expression."""
    found = connection.execute(
        "SELECT function_name, bool_and(function_type = 'scalar' AND stability = 'CONSISTENT') FROM duckdb_functions() "
        "WHERE function_type NOT IN ('table', 'table_macro', 'pragma') GROUP BY function_name"
    ).fetchall()
    allowed = {str(name): bool(is_allowed) and name not in _NOT_CONSISTENT for name, is_allowed in found}
    return {**allowed, **dict.fromkeys(_MACROS, True)}


def objections(
    connection: duckdb.DuckDBPyConnection, functions: Mapping[str, bool], expression: str, columns: Sequence[str]
) -> Iterator[str]:
    """What stands against an expression over these columns, each as a sentence's end. Empty: it may be used within parentheses."""
    if not expression.strip():
        yield "is empty"
        return
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        yield f"has more than {EXPRESSION_CHARACTERS_MAX:,} characters"
        return
    statement = f"SELECT ({expression}\n) AS pymigrate_value FROM pymigrate_rows"
    [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
    parsed: dict[str, Any] = json.loads(text)
    if parsed.get("error"):
        yield f"is no SQL expression: {parsed.get('error_message', '')}"
        return
    if (root := _only_expression(parsed)) is None:
        yield "must be one expression and nothing else"
        return
    yield from dict.fromkeys(_walk(root, functions, columns))


def _only_expression(parsed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The expression, where the statement is exactly the one that was written around it."""
    statements = parsed.get("statements", [])
    if len(statements) != 1:
        return None
    node = statements[0]["node"]
    table = node.get("from_table") or {}
    is_plain = (
        node.get("type") == "SELECT_NODE"
        and len(node.get("select_list", [])) == 1
        and node["select_list"][0].get("alias") == "pymigrate_value"
        and (table.get("type"), table.get("table_name")) == ("BASE_TABLE", "pymigrate_rows")
        and not any(node.get(part) for part in _PARTS)
        and not node.get("cte_map", {}).get("map")
    )
    return node["select_list"][0] if is_plain else None


def _walk(root: dict[str, Any], functions: Mapping[str, bool], columns: Sequence[str]) -> Iterator[str]:
    known = {name.lower() for name in columns}
    waiting: list[Any] = [root]
    for _ in range(NODES_MAX):
        if not waiting:
            return
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        kind = node.get("class")
        if kind is not None and kind not in _PLAIN:
            yield f"must not hold {_NOT_ALLOWED.get(kind, kind.lower())}"
            continue
        if kind == "FUNCTION":
            yield from _function_objections(node, functions)
        if kind == "COLUMN_REF":
            names = node["column_names"]
            if len(names) != 1:
                yield f"must name columns alone, not `{'.'.join(names)}`"
            elif names[0].lower() not in known:
                yield f"names `{names[0]}`, which is no column at this step{nearest(names[0], columns)}"
        waiting.extend(value for name, value in node.items() if name not in {"cast_type", "value"})
    yield f"has more than {NODES_MAX:,} parts"


def _function_objections(node: Mapping[str, Any], functions: Mapping[str, bool]) -> Iterator[str]:
    name = str(node["function_name"]).lower()
    # `[1]` and `extract` are parsed as functions of `main`, which has no others than DuckDB's own.
    if node.get("schema") not in {"", "main"} or node.get("catalog"):
        yield f"must not name a schema before `{name}`"
    elif name in _ALONE and len(node.get("children", [])) > 1:
        return
    elif name not in functions:
        yield f"uses `{name}`, which is no function of DuckDB{nearest(name, [each for each in functions if each.isidentifier()])}"
    elif not functions[name]:
        yield f"uses `{name}`, which is no function of one row that always answers alike"
