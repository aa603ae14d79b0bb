"""Opens the backends that environments declare, each kind by the entry point that brings it, imported when there is one of it."""

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from google.protobuf.message import Message

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.secret_backend import BackendOptions, SecretBackend, SecretBackendKind
from pymigrate.engine.ports.secrets import OWN_SCHEMES, SecretRef, Secrets, reference_in
from pymigrate.v1 import secret_backend_pb2 as pb

ENTRY_POINTS = "pymigrate.secrets"
CACHE_SECONDS_DEFAULT = 30
TIMEOUT_SECONDS_DEFAULT = 10


class BackendKinds:
    """The kinds of backends that there are, each made once, so that what it opened may know of one another."""

    def __init__(self) -> None:
        self._made: dict[str, SecretBackendKind] = {}

    def find(self, kind: str) -> SecretBackendKind:
        """Imports a kind when it is first asked for. Raises InvalidDefinition."""
        if kind not in self._made:
            known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
            if kind not in known:
                said = f"no installed package has a secret backend `{kind}`{nearest(kind, known)}: install the one that brings it"
                raise InvalidDefinition((Problem("plugin.kind", said),))
            self._made[kind] = known[kind].load()()
        return self._made[kind]


def open_backend(scheme: str, declared: pb.SecretBackend, secrets: Secrets, kinds: BackendKinds) -> SecretBackend:
    """The backend, which contacts nothing before it is asked. Raises InvalidDefinition for what can't be."""
    which = declared.WhichOneof("backend")
    if which is None:
        said = f"`{scheme}` is of a kind that this process does not know: it is older than the engine"
        raise InvalidDefinition((Problem("backend", said),))
    message = getattr(declared, which)
    is_plugin = isinstance(message, pb.PluginBackend)
    texts = dict(message.options) if is_plugin else dict(_texts(message))
    references: dict[str, SecretRef] = {}
    for name, text in texts.items():
        ref = reference_in(text, ())
        if ref is not None and ref.scheme in OWN_SCHEMES:
            references[name] = ref
    options = {name: text for name, text in texts.items() if name not in references}
    timeout = float(declared.timeout_seconds or TIMEOUT_SECONDS_DEFAULT)
    kind = kinds.find(message.kind if is_plugin else which)
    return kind.open(BackendOptions(scheme, options, references, secrets, timeout))


def cache_seconds(declared: pb.SecretBackend) -> float:
    """For how long what it gives is kept in memory."""
    return float(declared.cache_seconds or CACHE_SECONDS_DEFAULT)


def content(declared: pb.SecretBackend) -> bytes:
    """What it is opened by; how it is called and described is no part of it."""
    bare = pb.SecretBackend(cache_seconds=declared.cache_seconds, timeout_seconds=declared.timeout_seconds)
    if which := declared.WhichOneof("backend"):
        getattr(bare, which).CopyFrom(getattr(declared, which))
    return bare.SerializeToString(deterministic=True)


def _texts(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every field that is set, by its name with those before it, as a text; lists and maps as JSON."""
    for field, value in message.ListFields():
        name = f"{prefix}{field.name}"
        if isinstance(value, Message):
            yield name, ""
            yield from _texts(value, f"{name}.")
        elif isinstance(value, bool):
            yield name, "true" if value else "false"
        elif isinstance(value, str | int):
            yield name, str(value)
        else:
            yield name, json.dumps(dict(value) if isinstance(value, Mapping) else list(value))
