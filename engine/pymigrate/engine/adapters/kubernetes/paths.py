"""Where objects of a type are, as paths of the API."""

from urllib.parse import quote

from pymigrate.engine.ports.cluster import ObjectRefused, ResourceType


def collection_path(kind: ResourceType, namespace: str) -> str:
    """Of all objects, or those of a namespace."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    if namespace and kind.is_namespaced:
        return f"{root}/namespaces/{_segment(kind, namespace)}/{kind.plural}"
    return f"{root}/{kind.plural}"


def object_path(kind: ResourceType, namespace: str, name: str, subresource: str = "") -> str:
    """Of one. Raises ObjectRefused where a name is missing: the path would be that of all objects, and a DELETE of them all."""
    if kind.is_namespaced and not namespace:
        raise ObjectRefused(f"{kind.kind} {name}: lies in a namespace: name it")
    path = f"{collection_path(kind, namespace)}/{_segment(kind, name)}"
    return f"{path}/{quote(subresource, safe='')}" if subresource else path


def _segment(kind: ResourceType, name: str) -> str:
    if name in {"", ".", ".."} or "/" in name or "%" in name:
        raise ObjectRefused(f"{kind.kind}: `{name}` is no name of an object")
    return quote(name, safe="")
