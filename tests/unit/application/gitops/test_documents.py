"""Files as documents: what is read, what is refused and where, before anything is built from what could do harm."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.documents import Documents
from pymigrate.engine.application.gitops.limits import EVENTS_MAX, FILE_BYTES_MAX

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def data(text: str, path: str = "a.yaml") -> list[Any]:
    """The documents of a file that nothing is wrong with."""
    found = Documents(path, text.encode())
    assert found.troubles == []
    return [document.data for document in found.documents]


def troubles(content: str | bytes, path: str = "a.yaml") -> list[str]:
    """What is wrong with a file, as line:column: rule: description."""
    body = content if isinstance(content, bytes) else content.encode()
    found = Documents(path, body)
    return [f"{each.line}:{each.column}: {each.rule}: {each.description}" for each in found.troubles]


def test_several_documents_are_read_in_order_and_empty_ones_are_none() -> None:
    found = Documents("a.yaml", b"---\n---\na: 1\n---\n# nothing\n---\n\nb: [x, {c: d}]\n...\n")
    assert [(each.data, each.line, each.column) for each in found.documents] == [
        ({"a": 1}, 3, 1),
        ({"b": ["x", {"c": "d"}]}, 8, 1),
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-1_000", -1000),
        ("0x1F", 31),
        ("0b101", 5),
        ("0", 0),
        ("1.5", 1.5),
        ("1.5e+3", 1500.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1e5", "1e5"),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-99-99", "2026-99-99"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("=", "="),
        ("'010'", "010"),
        ('"22:30"', "22:30"),
        ("!!str 10", "10"),
        ("no such", "no such"),
    ],
)
def test_a_scalar_means_what_yaml_says_and_a_date_is_text(written: str, meant: object) -> None:
    text = f"a: {written}" if written != "-" else "a: '-'"
    assert data(text) == [{"a": meant}]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("010", "octal"),
        ("-0_7", "octal"),
        ("22:30", "base 60"),
        ("1:30.5", "base 60"),
        ("9" * 5_000, "5,000 digits"),
        ("1." + "9" * 5_000, "5,002 digits"),
        ("*b", "aliases are not allowed"),
        ("&b c", "leave `&b` out"),
        ("&b [c]", "leave `&b` out"),
        ("!thing c", "tags are not allowed: leave `!thing` out"),
        ("!!python/object/apply:os.system ['true']", "tags are not allowed"),
        ("!!binary aGk=", "tags are not allowed"),
        ('"a\\0b"', "NUL"),
    ],
)
def test_what_readers_of_yaml_do_not_agree_on_and_what_could_do_harm_is_refused(written: str, said: str) -> None:
    (only,) = troubles(f"# a file\nabc: {written}\n")
    assert only.startswith("2:6: yaml: ")
    assert said in only


def test_everything_that_is_wrong_is_told_at_once_and_other_documents_are_read() -> None:
    found = Documents("a.yaml", b"a: 010\nb: *c\n---\nd: 1\n---\ne: &f 1\n")
    assert [(each.line, each.column) for each in found.troubles] == [(1, 4), (2, 4), (6, 4)]
    assert [each.data for each in found.documents] == [{"d": 1}]


@pytest.mark.parametrize("key", ["1", "on", "~", "1.5"])
def test_a_key_must_be_text(key: str) -> None:
    assert "1:1: yaml: a key must be text: quote" in troubles(f"{key}: x")[0]


def test_a_key_that_is_a_map_is_refused() -> None:
    assert troubles("? {a: b}\n: c\n") == ["1:3: yaml: a key must be text, not a map or list"]


@pytest.mark.parametrize(("text", "at"), [("a: 1\nb: {c: 1, d: 2, c: 3}", "2:17"), ("a: 1\n'a': 2", "2:1")])
def test_a_key_that_stands_twice_is_refused(text: str, at: str) -> None:
    (only,) = troubles(text)
    assert only.startswith(f"{at}: yaml: `")
    assert "stands twice in this map" in only


def test_merge_keys_are_refused() -> None:
    assert troubles("a: {<<: {b: c}}") == ["1:5: yaml: merge keys are not allowed: write the fields out"]


def test_an_alias_bomb_is_refused_before_it_is_built() -> None:
    assert "aliases are not allowed: write the value out" in " ".join(troubles(BOMB))


@pytest.mark.parametrize("path", ["a.yaml", "a.json"])
@pytest.mark.parametrize("text", ["[" * 200 + "]" * 200, "[" * 200_000, '{"a":' * 200 + "1" + "}" * 200])
def test_what_is_nested_too_deep_is_refused(text: str, path: str) -> None:
    assert "is nested more than 64 deep" in troubles(text, path)[-1]


def test_blocks_that_are_nested_too_deep_are_refused_too() -> None:
    text = "".join(f"{' ' * depth}a:\n" for depth in range(100))
    assert "65:65: yaml: is nested more than 64 deep" in troubles(text)


def test_a_file_of_too_many_values_is_refused() -> None:
    text = "[" + "1," * (EVENTS_MAX + 1) + "]"
    assert "has more than 400,000 keys and values: split the file" in troubles(text)[-1]


def test_a_file_that_is_too_large_is_not_looked_at() -> None:
    assert troubles(b"#" * (FILE_BYTES_MAX + 1)) == [
        "0:0: file: has more than 4,194,304 bytes, which is the most that is read: split the file"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: \xff", "1:4: file: is not YAML: it is not UTF-8; save it as UTF-8"),
        ("ab: ä\n".encode("utf-16"), "0:0: file: is not YAML: it is UTF-16; save it as UTF-8"),
        (b"a: 1\nb: \0", "2:4: file: holds a NUL character: it is no text"),
        (b"a: 1\nb: \x07", "2:4: yaml: is not YAML: control characters are not allowed"),
        (b"a: [", "yaml: is not YAML: while parsing a flow node, did not find expected node content"),
        (b"a: 1\n\tb: 2", "2:1: yaml: is not YAML: the line begins with a tab; indent with blanks"),
        (b"a:\n\tb: 2", "2:1: yaml: is not YAML: the line begins with a tab; indent with blanks"),
        (
            b"a: b: c",
            "1:5: yaml: is not YAML: mapping values are not allowed in this context: quote a text that holds a colon and a blank",
        ),
        (b"a: @b", "found character that cannot start any token: quote a text that begins so"),
        (b"a:\n  b: 1\n c: 2", "did not find expected key: begin all keys of a map in one column"),
        (b"a: 'b\n", "found unexpected end of stream: close the quotes"),
    ],
)
def test_what_is_no_text_or_no_yaml_is_told_with_its_place(content: bytes, said: str) -> None:
    assert said in troubles(content)[0]


def test_a_byte_order_mark_is_left_out() -> None:
    assert data("\ufeffa: 1") == [{"a": 1}]
    assert data('\ufeff{"a": 1}', "a.json") == [{"a": 1}]


def test_a_merge_that_was_not_finished_is_told_as_such() -> None:
    text = "a: 1\n<<<<<<< HEAD\nb: 2\n||||||| base\n=======\nb: 3\n>>>>>>> other\n"
    found = troubles(text)
    assert [each.partition(": ")[0] for each in found] == ["2:1", "4:1", "5:1", "7:1"]
    assert "a conflict marker `<<<<<<<` of a merge: solve the conflict, and commit the result" in found[0]
    assert troubles(text.replace("\n", "\r\n"))[0] == found[0]


def test_a_row_of_equals_signs_alone_is_no_conflict() -> None:
    assert data("a: 'b\n\n=======\n\n  c'\n") == [{"a": "b\n=======\nc"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', "1:9: yaml: is not JSON: a key in double quotes must stand here"),
        ("{'a': 1}", "1:2: yaml: is not JSON: a key in double quotes must stand here"),
        ('{"a" 1}', "1:6: yaml: is not JSON: `:` must follow a key"),
        ("[1\n  2]", "2:3: yaml: is not JSON: `,` or `]` must follow"),
        ("[1,]", "1:4: yaml: is not JSON: a value must stand here"),
        ('{"a": NaN}', "1:7: yaml: is not JSON: a value must stand here"),
        ('{"a": 01}', "1:8: yaml: is not JSON: `,` or `}` must follow"),
        ("{} {}", "1:4: yaml: is not JSON: nothing may follow the document"),
        ('["a\nb"]', "is not JSON: a text that does not end on its line"),
        (r'["\x"]', "is not JSON: Invalid \\escape"),
        (r'["\ud800"]', "is not JSON: a text holds half a character"),
        ('{"a": 1,\n "a": 2}', "2:2: yaml: `a` stands twice in this map"),
        (f"[{'9' * 100}]", "1:2: yaml: a number of 100 digits; at most 64 are read"),
        ("[1e999]", "1:2: yaml: is more than a number here can be"),
        (r'["\u0000"]', "1:2: yaml: holds a NUL character"),
        ("[", "1:2: yaml: is not JSON: a value must stand here"),
    ],
)
def test_json_is_refused_where_it_is_wrong(text: str, said: str) -> None:
    assert said in troubles(text, "a.json")[0]


def test_an_empty_file_has_no_documents() -> None:
    assert data("") == data(" \n", "a.json") == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 1]))
def test_json_is_read_as_any_other_reader_does(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=indent is None)
    assert data(text, "a.json") == ([] if value is None else [value])


@given(st.text(st.sampled_from('{}[],:"\\ \n0123456789.eE+-truefalsn')))
@settings(max_examples=300)
def test_what_another_reader_refuses_as_json_is_refused(text: str) -> None:
    def refuse(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("doubled")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=refuse)
    except ValueError:
        assert not text.strip(" \n") or Documents("a.json", text.encode()).troubles
        return
    if "e" not in text.lower() and len(text) < 64:
        assert data(text, "a.json") == ([] if value is None else [value])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["a.yaml", "a.json"]))
@settings(max_examples=500)
def test_no_bytes_make_it_fail_otherwise_than_by_telling_what_is_wrong(content: bytes, path: str) -> None:
    found = Documents(path, content)
    lines = content.count(b"\n") + content.count(b"\r") + len(content.decode(errors="ignore").splitlines()) + 2
    for each in found.troubles:
        assert 0 <= each.line <= lines
        assert each.column >= 0
        assert each.description


def place(text: str, *paths: str, path: str = "a.yaml", number: int = 0) -> tuple[int, int]:
    """Where a field stands."""
    found = Documents(path, text.encode()).find(number, *paths)
    return found.line, found.column


TREE = "spec:\n  loadMode: x\n  rules:\n    - a: 1\n    - {a: 2, bC: {d.e: 3}}\n---\nspec:\n  z: 1\n"


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("spec", (1, 1)),
        ("spec.load_mode", (2, 3)),
        ("spec.loadMode", (2, 3)),
        ("spec.rules", (3, 3)),
        ("spec.rules[0]", (4, 7)),
        ("spec.rules[0].a", (4, 7)),
        ("spec.rules.1.b_c", (5, 14)),
        ("spec.rules[1].bC.d.e", (5, 19)),
        ("spec.rules[1].bC.d", (5, 14)),
        ("spec.rules[7].a", (3, 3)),
        ("spec.missing.a", (1, 1)),
        ("nothing", (1, 1)),
    ],
)
def test_a_field_is_found_where_it_stands_or_the_nearest_above_it(path: str, at: tuple[int, int]) -> None:
    assert place(TREE, path) == at


def test_a_field_of_a_later_document_is_found_in_that() -> None:
    assert place(TREE, "spec.z", number=1) == (8, 3)


def test_of_several_paths_the_one_counts_that_leads_farthest() -> None:
    assert place(TREE, "metadata.rules", "spec.rules") == (3, 3)


def test_a_field_of_json_is_found_too() -> None:
    assert place('{\n "spec": {"a": [1,\n  {"b": 2}]}}', "spec.a[1].b", path="a.json") == (3, 4)


KEYS = st.text(st.sampled_from("abcXY._ -"), min_size=1, max_size=5)


@given(
    st.recursive(st.integers(0, 9), lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=12),
    st.sampled_from(["a.json", "a.yaml"]),
)
def test_every_key_is_found_at_the_line_and_column_that_it_has(tree: Any, path: str) -> None:
    text = json.dumps(tree, indent=2)
    found = Documents(path, text.encode())
    lines = text.splitlines()

    def look(value: Any) -> None:
        node = found._roots[0]
        todo = [(value, node)]
        while todo:
            data, at = todo.pop()
            for key, below in data.items() if isinstance(data, dict) else ():
                where = at.fields[key].place
                assert lines[where.line - 1][where.column - 1 :].startswith(json.dumps(key))
                todo.append((below, at.fields[key]))

    look(tree)


@pytest.mark.parametrize("secret", ["0471100", "47:11:12", "4" * 80, "*s3cret", '"s3cret\\0"'])
def test_a_value_that_is_refused_is_not_repeated_since_it_may_be_a_secret(secret: str) -> None:
    assert not any(secret.strip('*"\\0') in said for said in troubles(f"password: {secret}"))
