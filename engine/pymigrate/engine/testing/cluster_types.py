"""What an API in memory serves: types, and how each behaves where Kubernetes' own differ."""

from dataclasses import dataclass

from pymigrate.engine.ports.cluster import EVENTS, JOBS, LEASES, PODS, ObjectMissing, ResourceType

NAMESPACES = ResourceType("", "v1", "namespaces", "Namespace", is_namespaced=False)
STATUS = "status"


@dataclass(frozen=True, slots=True)
class ServedType:
    """`has_status`: the status is written by its subresource alone. `has_generation`: whatever else changes is counted, as of custom
    resources. `is_versioned`: it is replaced under a resourceVersion only. `is_made_by_replacing`: where it is missing, a replacement makes
    it. `is_graceful`: it goes once its node has let it go."""

    kind: ResourceType
    has_status: bool = False
    has_generation: bool = False
    is_versioned: bool = False
    is_made_by_replacing: bool = False
    is_graceful: bool = False


BUILT_IN = (
    ServedType(JOBS, has_status=True),
    ServedType(PODS, has_status=True, is_graceful=True),
    ServedType(EVENTS, is_made_by_replacing=True),
    ServedType(LEASES, is_versioned=True, is_made_by_replacing=True),
    ServedType(NAMESPACES, has_status=True),
)


class ServedTypes:
    """Those that are served now."""

    def __init__(self) -> None:
        self._types = {each.kind: each for each in BUILT_IN}

    def add(self, served: ServedType) -> None:
        """Serves it from now on."""
        self._types[served.kind] = served

    def remove(self, kind: ResourceType) -> None:
        """Serves it no longer."""
        self._types.pop(kind, None)

    def find(self, kind: ResourceType) -> ServedType:
        """Raises ObjectMissing, as the API does where it knows no such path."""
        if (found := self._types.get(kind)) is None:
            message = (
                f"{kind.api_version} {kind.plural}: the API said 404: the server could not find the requested resource"
            )
            raise ObjectMissing(message, is_type_missing=True)
        return found

    def named(self, api_version: str, kind: str) -> ServedType | None:
        """The type that an owner's reference names."""
        return next((each for each in self._types.values() if _names(each.kind, api_version, kind)), None)

    def kinds(self) -> list[ResourceType]:
        """All of them."""
        return list(self._types)


def _names(kind: ResourceType, api_version: str, name: str) -> bool:
    # A reference may name another version of the same type.
    return kind.kind == name and kind.api_version.rpartition("/")[0] == api_version.rpartition("/")[0]
