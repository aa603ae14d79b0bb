"""What the contract's comments say of messages and fields, for whoever writes HCL. `python -m tools.terraform_pages` takes them over."""

import json
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("descriptions.json")


def description_of(name: str) -> str:
    """Of a message, as `Address`, or one of its fields, as `Address.to`; empty where nothing is said."""
    return _all().get(name, "")


@cache
def _all() -> dict[str, str]:
    told: dict[str, str] = json.loads(FILE.read_text())
    return told
