"""Documents as messages: the envelope, its kinds and names, and everything that is wrong, each at its place."""

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops import limits
from pymigrate.engine.application.gitops.definition import Definition, DefinitionsRead
from pymigrate.engine.application.gitops.definition_cache import DefinitionCache
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.v1.definition_pb2 import DefinitionFile

HEAD = "apiVersion: pymigrate.io/v1alpha1\n"
SALES = HEAD + "kind: Department\nmetadata: {name: sales, environment: prod}\nspec: {owner: Ann}\n"
LOOSE = SALES.replace(", environment: prod", "")
ENVIRONMENT = HEAD + "kind: Environment\nmetadata: {name: prod, labels: {tier: gold}}\n"


def read(
    files: Mapping[str, str] | str, environment: str = "", cache: DefinitionCache | None = None
) -> DefinitionsRead:
    """What files declare; one text alone is that of a.yaml."""
    named = {"a.yaml": files} if isinstance(files, str) else files
    return read_definitions(
        [DefinitionFile(path=path, content=text.encode()) for path, text in named.items()], environment, cache
    )


def problems(files: Mapping[str, str] | str, environment: str = "") -> list[str]:
    """What is wrong: where, rule, path and description."""
    return [
        f"{each.file}:{each.line}:{each.column} {each.rule} {each.path}: {each.description}"
        for each in read(files, environment).problems
    ]


def only(files: Mapping[str, str] | str, environment: str = "") -> Definition:
    """The one definition."""
    found = read(files, environment)
    assert list(found.problems) == []
    (definition,) = found.definitions
    return definition


def test_a_document_is_the_message_of_its_kind_with_its_name() -> None:
    found = only(f"# first\n{SALES}")
    assert (found.word, found.name, found.file, found.line) == (
        "Department",
        "environments/prod/departments/sales",
        "a.yaml",
        2,
    )
    assert found.message.name == found.name
    assert found.message.owner == "Ann"
    assert found.kind.collection == "departments"


def test_labels_stand_in_the_metadata() -> None:
    found = only(ENVIRONMENT)
    assert dict(found.message.labels) == {"tier": "gold"}
    assert (found.find("labels.tier").line, found.find("labels.tier").column) == (3, 33)


def test_a_field_of_the_message_is_found_in_the_file() -> None:
    found = only(SALES)
    assert (found.find("owner").line, found.find("owner").column) == (4, 8)
    assert found.find("users").line == 4
    assert found.find("").line == 4


def test_a_document_that_names_no_environment_belongs_to_the_one_that_is_asked_for() -> None:
    assert only(LOOSE, "dev").name == "environments/dev/departments/sales"
    (said,) = problems(LOOSE)
    assert said == (
        "a.yaml:3:1 envelope metadata.environment: a Department needs metadata.environment, or one environment for all that name none"
        " (--environment, or the source's)"
    )


def test_documents_of_other_environments_are_skipped_and_counted() -> None:
    found = read({"a.yaml": SALES, "b.yaml": ENVIRONMENT, "c.yaml": LOOSE}, "dev")
    assert [each.name for each in found.definitions] == ["environments/dev/departments/sales"]
    assert found.skipped_count == 2
    assert list(found.problems) == []
    assert read(SALES, "prod").skipped_count == 0
    assert only(ENVIRONMENT, "prod").name == "environments/prod"


def test_a_git_source_lies_in_no_environment_and_is_skipped_where_one_is_asked_for() -> None:
    text = HEAD + "kind: GitSource\nmetadata: {name: warehouse}\nspec: {url: 'https://example.org/w.git'}\n"
    assert only(text).name == "gitSources/warehouse"
    assert read(text, "prod").skipped_count == 1


def test_what_is_wrong_with_a_document_of_another_environment_is_not_told() -> None:
    assert problems(SALES.replace("owner", "ownr"), "dev") == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("apiVersion: pymigrate.io/v1alpha1", "apiVersion: v1", "1:1 envelope apiVersion: every document begins with"),
        ("kind: Department", "kind: Departement", "2:1 envelope kind: kind `Departement` is not one of Environment,"),
        ("kind: Department", "kind: [x]", "2:1 envelope kind: kind `['x']` is not one of"),
        ("spec:", "status: {}\nspec:", "4:1 envelope status: there is no such field"),
        ("metadata: {name: sales, environment: prod}", "metadata: 7", "3:1 envelope metadata: must be a map"),
        ("metadata: {name: sales, environment: prod}\n", "", "1:1 envelope metadata: a Department needs metadata.name"),
        ("name: sales", "nam: sales", "3:12 envelope metadata.nam: there is no such field; did you mean `name`?"),
        ("name: sales", "name: 7", "3:12 envelope metadata.name: must be text: quote it"),
        ("name: sales", "name: Sales!", "3:12 envelope metadata.name: `Sales!` is no name: use 1 to 63"),
        ("environment: prod", "environment: a/b", "3:25 envelope metadata.environment: `a/b` is no name"),
        ("environment: prod", "environment: prod, labels: {a: 1}", "labels.a: must be text, not a number: quote it"),
        ("owner: Ann", "ownr: Ann", "4:8 shape spec.ownr: there is no such field; did you mean `owner`?"),
        ("owner: Ann", "owner: 7", "4:8 shape spec.owner: must be text, not a number: quote it"),
        ("owner: Ann", "name: x", "4:8 shape spec.name: is told by the engine: leave it out"),
        ("owner: Ann", "uid: x", "4:8 shape spec.uid: is told by the engine: leave it out"),
        ("{owner: Ann}", "7", "4:1 shape spec: must be a map, not a number"),
    ],
)
def test_a_document_that_is_wrong_is_told_with_its_place(before: str, after: str, said: str) -> None:
    assert before in SALES
    assert any(said in each for each in problems(SALES.replace(before, after)))


def test_an_unknown_kind_is_told_with_the_nearest() -> None:
    assert problems(SALES.replace("Department", "Departement"))[0].endswith("did you mean `Department`?")


def test_an_environment_lies_in_none() -> None:
    assert (
        "lies in no environment: leave it out"
        in problems(ENVIRONMENT.replace("name: prod", "name: prod, environment: x"))[0]
    )


def test_labels_that_a_kind_does_not_have_or_that_stand_twice_are_refused() -> None:
    silence = HEAD + "kind: Silence\nmetadata: {name: s, environment: prod, labels: {a: b}}\n"
    assert problems(silence) == ["a.yaml:3:40 envelope metadata.labels: a Silence has no labels: leave them out"]
    assert "stand in spec.labels too" in problems(ENVIRONMENT + "spec: {labels: {a: b}}")[0]


@pytest.mark.parametrize("text", ["[a, b]", "just words", "7", "true", "a: b"])
def test_a_document_that_is_no_map_or_has_no_envelope_is_refused(text: str) -> None:
    assert "every document begins with `apiVersion: pymigrate.io/v1alpha1`" in problems(text)[0]


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_files() -> None:
    bad = SALES.replace("{owner: Ann}", "{ownr: Ann, users: many, system: [1]}")
    found = problems({"a.yaml": f"{bad}---\nkind: x\n", "b.yaml": "a: *b\n", "c.yaml": SALES})
    assert [each.split()[0] for each in found] == [
        *("a.yaml:4:8", "a.yaml:4:19", "a.yaml:4:32"),
        *("a.yaml:6:1", "b.yaml:1:4"),
    ]
    assert len(read({"a.yaml": bad, "c.yaml": SALES}).definitions) == 1


def test_an_object_that_is_declared_twice_is_told_with_both_places() -> None:
    (problem,) = read({"a.yaml": SALES, "b.yaml": f"\n\n{SALES}"}).problems
    assert (problem.file, problem.line, problem.rule) == ("b.yaml", 3, "duplicate")
    assert problem.name == "environments/prod/departments/sales"
    assert problem.description == (
        "environments/prod/departments/sales is declared at a.yaml:1 already: leave one of the two out"
    )


def test_problems_of_a_plan_are_told_at_their_phases() -> None:
    text = HEAD + (
        "kind: Plan\nmetadata: {name: p, environment: e}\nspec:\n  phases:\n    a: {departmnt: x}\n    b:\n"
        "      datasets: {o: {lanes: x}}\n      uid: u\n"
    )
    assert [each.split()[0] for each in problems(text)] == ["a.yaml:6:9", "a.yaml:8:22", "a.yaml:9:7"]


def test_the_files_as_a_whole_are_bounded() -> None:
    many = [DefinitionFile(path=f"{at}.yaml") for at in range(limits.FILES_MAX + 1)]
    assert "10,001 files" in read_definitions(many).problems[0].description
    large = [DefinitionFile(path=f"{at}.yaml", content=b" " * 4_000_000) for at in range(17)]
    assert "68,000,000 bytes" in read_definitions(large).problems[0].description


@pytest.mark.parametrize("path", ["", "a\nb.yaml", "x" * 2_000])
def test_a_path_must_be_one(path: str) -> None:
    assert "printable characters" in read({path: SALES}).problems[0].description


def test_a_path_that_is_given_twice_is_refused() -> None:
    file = DefinitionFile(path="a.yaml", content=SALES.encode())
    assert read_definitions([file, file]).problems[0].description == "is given twice"


def test_so_many_problems_are_told_and_how_many_more_there_are() -> None:
    bad = {f"{at}.yaml": "".join(f"---\nkind: {one}\n" for one in range(99)) for at in range(11)}
    found = read(bad).problems
    assert len(found) == limits.PROBLEMS_MAX + 1
    assert found[-1].description == "and 89 more problems"


@pytest.mark.parametrize("head", ["", f"{HEAD}kind: Department\nmetadata: {{name: a, environment: e}}\nspec:\n", HEAD])
def test_a_file_of_which_everything_is_wrong_is_left_alone_after_so_many_problems(head: str) -> None:
    within = "  " if head.endswith("spec:\n") else ""
    bad = head + "".join(f"{within}k{at}: 1\n" for at in range(5_000)) + "---\nkind: x\n" * 5_000
    found = read(bad).problems
    assert len(found) <= limits.PROBLEMS_OF_FILE_MAX + 1
    assert found[-1].description == "has more problems than are told at once: mend these first"


def test_a_file_that_was_read_is_not_read_again() -> None:
    cache = DefinitionCache()
    first = read({"a.yaml": SALES}, cache=cache)
    again = read({"a.yaml": SALES}, cache=cache)
    assert again.definitions[0] is first.definitions[0]
    moved = read({"b.yaml": SALES}, cache=cache)
    assert moved.definitions[0].message is first.definitions[0].message
    assert moved.definitions[0].file == "b.yaml"
    assert read({"a.yaml": SALES}, "dev", cache).skipped_count == 1


def test_problems_of_a_file_that_was_read_are_told_again_at_its_path() -> None:
    cache = DefinitionCache()
    assert [read({path: "a: *b"}, cache=cache).problems[0].file for path in ("a.yaml", "b.yaml")] == [
        "a.yaml",
        "b.yaml",
    ]


def test_what_is_held_needs_no_content() -> None:
    cache, digests = DefinitionCache(), {"a.yaml": "1", "b.yaml": "2"}
    files = [
        DefinitionFile(path=path, content=text.encode()) for path, text in (("a.yaml", SALES), ("b.yaml", ENVIRONMENT))
    ]
    before = read_definitions(files, "prod", cache, digests)
    held = cache.held({**digests, "c.yaml": "3"}, "prod")
    assert set(held) == {"a.yaml", "b.yaml"}
    bare = [DefinitionFile(path="a.yaml"), DefinitionFile(path="b.yaml")]
    after = read_definitions(bare, "prod", cache, digests, held)
    assert after == before
    assert cache.held(digests, "dev") == {}


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = DefinitionCache(bytes_max=2_500)
    for path, digest in (("a", "1"), ("b", "2"), ("a", "1"), ("c", "3")):
        read_definitions([DefinitionFile(path=path, content=SALES.encode())], "prod", cache, {path: digest})
    assert set(cache.held({"a": "1", "b": "2", "c": "3"}, "prod")) == {"a", "c"}


WORDS: Sequence[object] = [
    "pymigrate.io/v1alpha1",
    "Department",
    "Plan",
    "Environment",
    "prod",
    "sales",
    7,
    None,
    True,
    -1.5,
    [],
]
KEYS = [
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "name",
    "environment",
    "labels",
    "owner",
    "phases",
    "datasets",
    "source",
]
TREES = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner) | st.lists(inner, max_size=2),
    max_leaves=15,
)


@given(TREES, st.sampled_from(["Environment", "Department", "Plan", "AlertRule"]), st.sampled_from(["", "prod"]))
def test_whatever_a_document_says_is_read_or_refused_at_a_place_of_it(tree: object, word: str, scope: str) -> None:
    text = json.dumps(
        {"apiVersion": "pymigrate.io/v1alpha1", "kind": word, "metadata": {"name": "x"}, "spec": tree}, indent=1
    )
    found = read({"a.json": text}, scope)
    assert len(found.definitions) + found.skipped_count + bool(found.problems) == 1
    for each in found.problems:
        assert 1 <= each.line <= text.count("\n") + 1
        assert each.rule in {"envelope", "shape"}


@given(st.text(max_size=150), st.sampled_from(["a.yaml", "a.json"]), st.sampled_from(["", "prod"]))
def test_no_text_after_an_envelope_makes_reading_fail_otherwise_than_by_problems(
    text: str, path: str, scope: str
) -> None:
    file = DefinitionFile(path=path, content=f"{HEAD}kind: Department\n{text}".encode())
    found = read_definitions([file], scope)
    assert all(each.file == path and each.description and each.rule for each in found.problems)


UNSEEN = {
    "a field": '{"\\e[2Jx": 1}',
    "a field within": '{systems: {"\\u202ep": {foo: 1}}}',
    "a key that stands twice": '{"\\a": 1, "\\a": 2}',
}


@pytest.mark.parametrize("spec", UNSEEN.values(), ids=UNSEEN)
def test_problems_quote_no_character_that_nobody_sees(spec: str) -> None:
    content = f"apiVersion: pymigrate.io/v1alpha1\nkind: Department\nmetadata: {{name: a}}\nspec: {spec}\n"
    found = read_definitions([DefinitionFile(path="a.yaml", content=content.encode())], "prod").problems
    assert found
    assert all((each.description + each.path + each.name).isprintable() for each in found)
