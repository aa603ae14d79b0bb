"""What the real terraform plans, accepts and finds unchanged, on a provider whose attributes are of every kind that the sdk has."""

import pytest

from tests.integration.provider_sdk.workspace import STOCK_SHELF, Workspace, attached

WHOLE = """
title    = "A"
pages    = 7
genre    = "novel"
price    = 99.99
chapters = { one = { heading = "x" }, two = { heading = "y", pages = 3 } }
authors  = [{ name = "Ada" }, { name = "Bob" }]
cover    = { color = "red" }
keywords = ["b", "a"]
labels   = { shelf = "top" }
"""


def test_attributes_of_every_kind_are_applied_and_a_plan_afterwards_is_empty(shelf: Workspace) -> None:
    shelf.apply(WHOLE)
    state = shelf.state()
    assert state is not None
    assert state["chapters"] == {
        "one": {"heading": "x", "pages": 1, "slug": "one-x"},
        "two": {"heading": "y", "pages": 3, "slug": "two-y"},
    }
    assert state["authors"] == [{"name": "Ada"}, {"name": "Bob"}]
    assert (state["cover"], state["labels"], state["price"]) == (
        {"color": "red", "size": None},
        {"shelf": "top"},
        99.99,
    )
    assert not shelf.changes()


def test_attributes_that_are_left_out_are_null_or_their_default(shelf: Workspace) -> None:
    shelf.apply('title = "A"')
    state = shelf.state()
    assert state is not None
    assert (state["pages"], state["genre"], state["chapters"]) == (100, None, None)
    assert not shelf.changes()


def test_collections_that_are_empty_stay_empty_and_are_not_taken_for_absent_ones(shelf: Workspace) -> None:
    shelf.apply('title = "A"')
    empty = 'title = "A"\nchapters = {}\nauthors = []\nkeywords = []\nlabels = {}'
    shelf.apply(empty)
    state = shelf.state()
    assert state is not None
    assert (state["chapters"], state["authors"], state["keywords"], state["labels"]) == ({}, [], [], {})
    assert not shelf.changes()


def test_removing_a_value_brings_its_default_back(shelf: Workspace) -> None:
    shelf.apply('title = "A"\npages = 7\nchapters = { one = { heading = "x", pages = 9 } }')
    change = shelf.planned('title = "A"\nchapters = { one = { heading = "x" } }')
    assert change["after"]["pages"] == 100
    assert change["after"]["chapters"]["one"]["pages"] == 1
    shelf.must("apply", "-auto-approve")
    assert not shelf.changes()


def test_stock_tf_keeps_the_value_that_was_removed(stock_workspace: Workspace) -> None:
    with attached(stock_workspace, STOCK_SHELF) as shelf:
        shelf.apply('title = "A"\npages = 7')
        change = shelf.planned('title = "A"')
        assert change["after"]["pages"] == 7


def test_what_is_computed_is_unknown_on_a_change_unless_it_is_stable(shelf: Workspace) -> None:
    shelf.apply(WHOLE)
    change = shelf.planned(WHOLE.replace('"y", pages = 3', '"z", pages = 3'))
    assert change["actions"] == ["update"]
    unknown = change["after_unknown"]
    assert unknown["edition"]
    assert unknown["chapters"] == {"one": {"slug": True}, "two": {"slug": True}}
    assert "isbn" not in unknown
    shelf.must("apply", "-auto-approve")
    state = shelf.state()
    assert state is not None
    assert (state["edition"], state["chapters"]["two"]["slug"]) == (2, "two-z")


def test_stock_tf_fails_an_update_whose_computed_attribute_changes(stock_workspace: Workspace) -> None:
    with attached(stock_workspace, STOCK_SHELF) as shelf:
        shelf.apply('title = "A"')
        shelf.write('title = "A"\npages = 7')
        assert "inconsistent result after apply" in shelf.run("apply", "-auto-approve").output


def test_a_chapter_that_is_added_or_renamed_leaves_the_others_alone(shelf: Workspace) -> None:
    shelf.apply(WHOLE)
    shelf.apply(WHOLE.replace("two =", "three ="))
    state = shelf.state()
    assert state is not None
    assert {name: chapter["slug"] for name, chapter in state["chapters"].items()} == {
        "one": "one-x",
        "three": "three-y",
    }
    assert not shelf.changes()


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ('title = "A"', 'title = "B"', ["title"]),
        ('title = "A"\ncover = { size = 1 }', 'title = "A"\ncover = { size = 2 }', ["cover", "size"]),
        ('title = "A"\ngenre = "poem"', 'title = "A"\ngenre = "novel"', ["genre"]),
    ],
)
def test_a_change_that_needs_another_object_says_where(
    shelf: Workspace, before: str, after: str, path: list[str]
) -> None:
    shelf.apply(before)
    change = shelf.planned(after)
    assert change["actions"] == ["delete", "create"]
    assert change["replace_paths"] == [path]


def test_what_needs_another_object_may_depend_on_the_value(shelf: Workspace) -> None:
    shelf.apply('title = "A"\ngenre = "novel"')
    assert shelf.planned('title = "A"\ngenre = "poem"')["actions"] == ["update"]


def test_a_resource_modifies_the_plan_of_a_creation_by_what_the_user_wrote(shelf: Workspace) -> None:
    change = shelf.planned('title = "A"\nsecret = "abc"')
    assert change["actions"] == ["create"]
    assert change["after"]["secret_length"] == 3


def test_a_write_only_value_reaches_the_provider_and_neither_plan_nor_state(shelf: Workspace) -> None:
    change = shelf.planned('title = "A"\nsecret = "abc"')
    assert change["after"]["secret"] is None
    shelf.must("apply", "-auto-approve")
    state = shelf.state()
    assert state is not None
    assert (state["secret"], state["secret_length"]) == (None, 3)
    assert '"abc"' not in (shelf.folder / "terraform.tfstate").read_text()
    assert not shelf.changes()


@pytest.mark.parametrize(
    "refined",
    [
        'labels = { id = "x-${terraform_data.other.id}" }',
        'mood = "x-${terraform_data.other.id}"',
        "keywords = toset([terraform_data.other.id])",
        'authors = [for i in [terraform_data.other.id] : { name = "${i}-x" }]',
        'chapters = { one = { heading = "x-${terraform_data.other.id}" } }',
    ],
)
def test_values_that_are_not_known_yet_are_planned_and_applied(shelf: Workspace, refined: str) -> None:
    shelf.write(f'title = "A"\n{refined}', 'resource "terraform_data" "other" {}\n')
    shelf.must("apply", "-auto-approve")
    assert not shelf.changes()


def test_a_set_that_becomes_unknown_is_an_update(shelf: Workspace) -> None:
    shelf.apply('title = "A"\nkeywords = ["a"]')
    shelf.write('title = "A"\nkeywords = [terraform_data.other.id]', 'resource "terraform_data" "other" {}\n')
    shelf.must("apply", "-auto-approve")
    assert not shelf.changes()


def test_a_destruction_warns_before_it_is_done(shelf: Workspace) -> None:
    shelf.apply('title = "A"')
    assert "A is burnt." in shelf.must("plan", "-destroy")
    shelf.must("destroy", "-auto-approve")
    assert shelf.books() == []


def test_a_book_that_is_gone_is_made_again(shelf: Workspace) -> None:
    shelf.apply('title = "A"')
    for file in shelf.shelf.glob("*.json"):
        file.unlink()
    assert shelf.changes()
    shelf.must("apply", "-auto-approve")
    assert len(shelf.books()) == 1


def test_a_data_source_is_read(shelf: Workspace) -> None:
    shelf.write("", 'data "shelf_count" "all" {}\noutput "books" { value = data.shelf_count.all.books }\n')
    shelf.must("apply", "-auto-approve")
    assert shelf.must("output", "books").strip() == "0"
