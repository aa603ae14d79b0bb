"""Answers of the contract as JSON in the one shape, and numbers that JSON does not have as the words that protobuf's JSON has for them."""

import orjson
from google.protobuf.message import Message

from pymigrate.v1.shape import to_json_data


def encoded(message: Message) -> bytes:
    """The message as JSON, on one line."""
    return orjson.dumps(to_json_data(message))
