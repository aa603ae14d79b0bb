"""A small provider on the sdk, run as a program by the tests: books on a shelf, which is a folder of JSON files.

A book's `mood` is what goes wrong with it. `started` in the shelf's folder is a pipe that a slow book writes its process's id to.
"""

import json
import os
import sys
import threading
import uuid
from functools import cache
from pathlib import Path as File
from typing import Any

from tf.iface import Provider
from tf.types import Map, Number, String
from tf.utils import Diagnostics

from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.resource import Context, DataSource, Resource, State
from pymigrate.provider.sdk.schema import Attribute, Nesting, Schema, UnorderedSet
from pymigrate.provider.sdk.serving import main

SLOW_SECONDS_MAX = 120.0


class Book(Resource):
    """`shelf_book`."""

    @classmethod
    def get_name(cls) -> str:
        return "book"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        chapter = [
            Attribute("heading", required=True),
            Attribute("pages", Number(), optional=True, computed=True, default=1),
            Attribute("slug", computed=True),
        ]
        cover = [
            Attribute("color", optional=True),
            Attribute("size", Number(), optional=True, requires_replace=True),
        ]
        return Schema(
            [
                Attribute("title", required=True, requires_replace=True),
                Attribute("pages", Number(), optional=True, computed=True, default=100),
                Attribute("genre", optional=True, words=("novel", "poem")),
                Attribute("chapters", nested=chapter, nesting=Nesting.MAP, optional=True),
                Attribute("authors", nested=[Attribute("name", required=True)], nesting=Nesting.LIST, optional=True),
                Attribute("cover", nested=cover, optional=True),
                Attribute("price", Number(), optional=True),
                Attribute("keywords", UnorderedSet(String()), optional=True),
                Attribute("labels", Map(String()), optional=True),
                Attribute("secret", optional=True, is_write_only=True),
                Attribute("mood", optional=True),
                Attribute("isbn", computed=True, is_stable=True),
                Attribute("edition", Number(), computed=True),
                Attribute("secret_length", Number(), computed=True),
            ],
            version=2,
        )

    def validate(self, context: Context, config: State) -> None:
        if config["title"] == "":
            context.error("A title is needed", path=["title"])
            context.error("Call it something", path=["title"])

    def upgrade(self, version: int, state: State) -> State:
        return {**state, "pages": 7 if state["pages"] == "seven" else state["pages"]}

    def requires_replace(self, prior: State, planned: State) -> list[Path]:
        return [["genre"]] if prior["genre"] == "poem" != planned["genre"] else []

    def modify_plan(self, context: Context, prior: State | None, planned: State) -> State:
        return {**planned, "secret_length": len(context.config.get("secret") or "")}

    def plan_destroy(self, context: Context, prior: State) -> None:
        context.warn("A book goes", f"{prior['title']} is burnt.")

    def create(self, context: Context, planned: State) -> State:
        mood = planned["mood"]
        if mood == "refused":
            raise Refused("No such color", "Paint it.", ["cover", "color"])
        if mood == "refused chapter":
            raise Refused("No such heading", "Call it otherwise.", ["chapters", ("one",), "heading"])
        state = _put({**planned, "isbn": uuid.uuid4().hex, "edition": 1})
        context.save(state)
        if mood == "accepted, then broken":
            raise OSError("the shelf fell")
        if mood == "nothing":
            return None  # type: ignore[return-value]  # what an author forgets
        if mood == "unfit":
            return {**state, "edition": object()}
        if mood in {"slow", "stubborn"}:
            _announce()
            (context.stopping if mood == "slow" else _never).wait(SLOW_SECONDS_MAX)
            raise Refused("Interrupted", "The book stands there, unread.")
        return state

    def read(self, context: Context, current: State) -> State | None:
        try:
            return dict(json.loads(_file(current["isbn"]).read_text()))
        except FileNotFoundError:
            return None

    def update(self, context: Context, current: State, planned: State) -> State:
        if planned["mood"] == "update broken":
            raise OSError("the shelf fell")
        return _put({**planned, "edition": current["edition"] + 1})

    def delete(self, context: Context, current: State) -> None:
        _file(current["isbn"]).unlink(missing_ok=True)

    def import_state(self, context: Context, identity: str) -> State | None:
        return {"isbn": identity} if _file(identity).exists() else None


_never = threading.Event()


def _shelf() -> File:
    return File(os.environ["SHELF_FOLDER"])


def _file(isbn: str) -> File:
    return _shelf() / f"{isbn}.json"


def _put(state: State) -> State:
    chapters = state["chapters"]
    for heading, chapter in (chapters or {}).items():
        chapter["slug"] = f"{heading}-{chapter['heading']}"
    _file(state["isbn"]).write_text(json.dumps(state))
    return state


def _announce() -> None:
    with (_shelf() / "started").open("w") as pipe:
        pipe.write(str(os.getpid()))


class Count(DataSource):
    """`data.shelf_count`."""

    @classmethod
    def get_name(cls) -> str:
        return "count"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        return Schema([Attribute("books", Number(), computed=True)])

    def read(self, context: Context, config: State) -> State:
        return {"books": len(list(_shelf().glob("*.json")))}


class Shelf(Provider):
    """`provider "shelf" {}`."""

    def get_model_prefix(self) -> str:
        return "shelf_"

    def full_name(self) -> str:
        return "registry.terraform.io/pymigrate/shelf"

    def get_provider_schema(self, diags: Diagnostics) -> Schema:
        return Schema([])

    def validate_config(self, diags: Diagnostics, config: Any) -> None:
        del config

    def configure_provider(self, diags: Diagnostics, config: Any) -> None:
        del config

    def get_resources(self) -> list[Any]:
        return [Book]

    def get_data_sources(self) -> list[Any]:
        return [Count]


if __name__ == "__main__":
    sys.exit(main(Shelf(), sys.argv[1:]))
