"""Answers of the contract as JSON in the one shape, and numbers that JSON does not have as the words that protobuf's JSON has for them."""

import math
from typing import Any

import orjson
from google.protobuf.message import Message

from pymigrate.v1.shape import to_data

NUMBER_WORDS = ("NaN", "Infinity", "-Infinity")


def encoded(message: Message) -> bytes:
    """The message as JSON, on one line."""
    return orjson.dumps(_strict(to_data(message)))


def _strict(data: Any) -> Any:
    match data:
        case dict():
            return {name: _strict(value) for name, value in data.items()}
        case list():
            return [_strict(value) for value in data]
        case float() if not math.isfinite(data):
            return NUMBER_WORDS[0] if math.isnan(data) else NUMBER_WORDS[1 if data > 0 else 2]
        case _:
            return data
