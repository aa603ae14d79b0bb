"""Objects that terraform knows already, or is told of: states of an older schema, imports, and errors at what caused them."""

import json
from pathlib import Path

from tests.integration.provider_sdk.workspace import STOCK_SHELF, Workspace, attached


def put(workspace: Workspace, isbn: str, **values: object) -> None:
    """A book on the shelf that nobody declared."""
    book = {"title": "A", "pages": 100, "isbn": isbn, "edition": 1, "secret_length": 0} | values
    (workspace.shelf / f"{isbn}.json").write_text(json.dumps(book))


def older(state: Path) -> None:
    """Makes a state the work of an older provider: an attribute less, one that is no more, one of another type."""
    content = json.loads(state.read_text())
    (instance,) = content["resources"][0]["instances"]
    instance["schema_version"] = 1
    attributes = instance["attributes"]
    del attributes["labels"]
    attributes["publisher"] = "gone"
    attributes["pages"] = "seven"
    state.write_text(json.dumps(content))


def test_a_state_of_an_older_schema_is_upgraded_completed_and_cleaned(shelf: Workspace) -> None:
    shelf.apply('title = "A"\npages = 7\nprice = 0.1')
    older(shelf.folder / "terraform.tfstate")
    assert not shelf.changes()
    shelf.must("apply", "-auto-approve", "-refresh-only")
    state = shelf.state()
    assert state is not None
    assert (state["pages"], state["price"], state["labels"]) == (7, 0.1, None)
    assert "publisher" not in state


def test_stock_tf_fails_on_a_state_that_lacks_an_attribute(stock_workspace: Workspace) -> None:
    with attached(stock_workspace, STOCK_SHELF) as shelf:
        shelf.apply('title = "A"')
        file = shelf.folder / "terraform.tfstate"
        content = json.loads(file.read_text())
        del content["resources"][0]["instances"][0]["attributes"]["edition"]
        file.write_text(json.dumps(content))
        done = shelf.run("plan")
        assert done.code == 1
        assert "Using default upgrade" in done.output
        assert "an object with 5 attributes is required (4 given)" in done.output


def test_an_import_that_knows_the_name_alone_ends_in_an_empty_plan(shelf: Workspace) -> None:
    put(shelf, "1")
    shelf.write('title = "A"')
    shelf.must("import", "shelf_book.a", "1")
    assert not shelf.changes()


def test_an_import_of_what_is_not_there_is_an_error(shelf: Workspace) -> None:
    shelf.write('title = "A"')
    done = shelf.run("import", "shelf_book.a", "1")
    assert done.code == 1
    assert "There is no 1" in done.output
    assert "Import successful" not in done.output


def test_stock_tf_fails_a_partial_import_and_takes_a_missing_object_for_imported(stock_workspace: Workspace) -> None:
    with attached(stock_workspace, STOCK_SHELF) as shelf:
        put(shelf, "1")
        shelf.write('title = "A"')
        assert shelf.run("import", "shelf_book.a", "1").code == 1
        assert "Import successful" in shelf.must("import", "shelf_book.a", "2")
        assert shelf.state() is None


def test_an_import_block_is_planned(shelf: Workspace) -> None:
    put(shelf, "1")
    shelf.write('title = "A"', 'import {\n  to = shelf_book.a\n  id = "1"\n}\n')
    assert "1 to import, 0 to add, 0 to change" in shelf.must("plan")


def test_an_error_points_at_its_attribute(shelf: Workspace) -> None:
    output = shelf.fails('title = "A"\nmood = "refused"\ncover = { color = "red" }')
    assert 'cover = { color = "red" }' in output
    assert "cover.color: Paint it." in output


def test_an_error_points_at_the_element_of_a_map(shelf: Workspace) -> None:
    output = shelf.fails(
        'title = "A"\nmood = "refused chapter"\nchapters = {\n  two = { heading = "y" }\n  one = { heading = "x" }\n}'
    )
    assert 'one = { heading = "x" }' in output
    assert 'two = { heading = "y" }' not in output.partition("Error:")[2]
    assert 'chapters["one"].heading: Call it otherwise.' in output


def test_every_error_of_a_configuration_is_told_at_once(shelf: Workspace) -> None:
    shelf.write('title = ""\ngenre = "play"\nisbn = "7"')
    output = shelf.run("validate").output
    for told in ("`play` is not one of novel, poem", "isbn can't be set", "A title is needed", "Call it something"):
        assert told in output
