"""Every transform holds to its port: the same rows in any cut into batches give the same rows, and refuse the same ones."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.transform import (
    CastAll,
    CastTo,
    Deduplicate,
    Derive,
    Derived,
    Drop,
    Filter,
    Lookup,
    Mask,
    Masked,
    MaskMethod,
    Merge,
    Missing,
    Plugin,
    Python,
    Rename,
    Select,
    Split,
    TransformKind,
    TransformSpec,
)
from pymigrate.engine.testing.transforms import MarkingKind, check_transform
from pymigrate.engine.transfer.transforms.binding import Binding
from tests.unit.transfer.transforms.lookups import open_countries
from tests.unit.transfer.transforms.pipelines import COLUMNS, batch_of

KEY = b"0123456789abcdef"
INT64, STRING = parse_type("int64"), parse_type("string")
SPECS: dict[str, TransformSpec] = {
    "rename": Rename({"id": "number"}),
    "cast": CastAll({"price": CastTo(parse_type("decimal(6,2)")), "id": CastTo(STRING)}),
    "lenient cast": CastAll({"price": CastTo(INT64, is_lenient=True)}),
    "filter": Filter("id > 3 OR name = 'a'"),
    "derive": Derive({"v": Derived("CAST(price AS DOUBLE) / id", INT64), "w": Derived("name || '!'", STRING)}),
    "select": Select(["price", "id"]),
    "drop": Drop(["name"]),
    "lookup": Lookup("c", SourceRelation("countries"), {"id": "number"}, {"country": "name"}),
    "dropping lookup": Lookup(
        "c", SourceRelation("countries"), {"id": "number"}, {"country": "name"}, missing=Missing.DROP
    ),
    "deduplicate": Deduplicate(["name"]),
    "split": Split("price", ".", ["whole", "part"]),
    "merge": Merge(["id", "name"], "-", "both", is_kept=True),
    "mask": Mask({"name": Masked(MaskMethod.TOKENISE), "id": Masked(MaskMethod.HASH)}, KEY),
    "plugin": Plugin("marking", {"column": "name", "mark": "> ", "refused": "b"}),
}
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 6) | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.sampled_from(["a", "b", "ä\x00", ""]) | st.text(max_size=4),
        st.none() | st.sampled_from(["1", "1.50", "1.5.2", "x", "1e3", "-0.005", " 1", "99999999"]),
    ),
    max_size=12,
)


def plugins(name: str) -> TransformKind:
    assert name == "marking"
    return MarkingKind()


BINDING = Binding(plugins, open_countries)


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=6, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(1, 12), max_size=4))
def test_the_same_rows_in_any_cut_give_the_same_rows(
    name: str, rows: Sequence[tuple[object, ...]], cuts: list[int]
) -> None:
    check_transform(lambda: BINDING.bind(SPECS[name], COLUMNS), batch_of(rows), cuts)


def test_the_test_above_catches_a_transform_that_looks_beyond_its_row() -> None:
    rows = batch_of([(at, "a", None) for at in range(5)])
    python = Python("tests.unit.transfer.transforms.functions:clock", {}, {"name": STRING}, 512 << 20, 60)
    with pytest.raises(AssertionError, match="cut at"):
        check_transform(lambda: BINDING.bind(python, COLUMNS), rows, [2])


def test_a_python_function_gives_the_same_rows_in_another_cut() -> None:
    python = Python("tests.unit.transfer.transforms.functions:shout", {"mark": "?"}, {"name": STRING}, 512 << 20, 60)
    names = ["a", "no", "bad", None, "x", "bad", "y"]
    check_transform(lambda: BINDING.bind(python, COLUMNS), batch_of([(1, name, None) for name in names]), [1, 3, 4])
