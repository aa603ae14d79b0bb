"""A connector: what opens one kind of system for reading and for writing.

What is opened is described beside it: `source`, `target`, and what both speak of (`relations`, `ranges`, `staging`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """How to reach a system: its kind (`sqlite`, `duckdb`, `postgres`, `mysql`, `files`, `http`, `iceberg`), the connection's name, and the
    kind's settings.

    Keys of `options`: sqlite and duckdb `path`; files `root`; postgres and mysql `host`, `port`, `database`, `user`, `ssl_mode`; http
    `base_url`, `requests_per_second_max`, `timeout_seconds`, `retries_max`, `ca_file`, and `header.<name>`, here or in `secrets`; iceberg
    `catalog_path`, `warehouse`, `catalog_name`; sqlalchemy `url`.
    """

    kind: str
    name: str
    options: Mapping[str, str]
    password: Secret | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)


class Connector(Protocol):
    """One kind of system."""

    kind: str

    def open_source(self, system: SystemSpec) -> Source:
        """Opens it for reading. Raises SourceMissing (a file that is not there) or SystemUnavailable."""
        ...

    def open_target(self, system: SystemSpec) -> Target:
        """Opens it for writing, and makes it where it is a file that is missing. Raises SystemUnavailable."""
        ...


@runtime_checkable
class MemoryLimited(Protocol):
    """What a Connector may have on top whose systems live in this process and take memory of it."""

    def limit_memory(self, bytes_max: int) -> None:
        """From now on everything that it has open takes so much together, at about."""
        ...
