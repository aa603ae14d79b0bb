"""The same provider on `tf` alone, as far as `tf` goes: what the tests show defects with."""

import json
import os
import sys
import threading
import uuid
from pathlib import Path as File
from typing import Any

from tf.iface import Provider, Resource
from tf.runner import run_provider
from tf.schema import Attribute, Schema
from tf.types import Number, String
from tf.utils import Diagnostics

SLOW_SECONDS_MAX = 120.0


class Book(Resource):
    """`shelf_book`."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    @classmethod
    def get_name(cls) -> str:
        return "book"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            [
                Attribute("title", String(), required=True, requires_replace=True),
                Attribute("pages", Number(), optional=True, computed=True, default=100),
                Attribute("mood", String(), optional=True),
                Attribute("isbn", String(), computed=True),
                Attribute("edition", Number(), computed=True),
            ]
        )

    def create(self, ctx: Any, planned: dict[str, Any]) -> dict[str, Any] | None:
        state = {**planned, "isbn": uuid.uuid4().hex, "edition": 1}
        _file(state["isbn"]).write_text(json.dumps(state))
        if planned["mood"] == "accepted, then broken":
            raise OSError("the shelf fell")
        if planned["mood"] == "nothing":
            return None
        if planned["mood"] in {"slow", "stubborn"}:
            with File(os.environ["SHELF_FOLDER"], "started").open("w") as pipe:
                pipe.write(str(os.getpid()))
            threading.Event().wait(SLOW_SECONDS_MAX)
        return state

    def read(self, ctx: Any, current: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return dict(json.loads(_file(current["isbn"]).read_text()))
        except FileNotFoundError:
            return None

    def update(self, ctx: Any, current: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
        state = {**planned, "edition": current["edition"] + 1}
        _file(state["isbn"]).write_text(json.dumps(state))
        return state

    def delete(self, ctx: Any, current: dict[str, Any]) -> None:
        _file(current["isbn"]).unlink(missing_ok=True)

    def import_(self, ctx: Any, id: str) -> dict[str, Any] | None:
        return {"isbn": id} if _file(id).exists() else None


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
        return []


def _file(isbn: str) -> File:
    return File(os.environ["SHELF_FOLDER"]) / f"{isbn}.json"


if __name__ == "__main__":
    run_provider(Shelf(), [argument.replace("--reattach", "--dev") for argument in sys.argv])
