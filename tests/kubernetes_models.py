"""Kubernetes manifests held against models of their kinds: those of the `kubernetes` client, and for kinds of cert-manager and of the
Prometheus Operator those of packages that are generated from their definitions."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

Document = Mapping[str, Any]


def problems(document: Document) -> list[str]:
    """Where a manifest says what its kind's model does not know, or knows as another type. Raises AttributeError where no model is of that
    kind."""
    group, _, version = str(document["apiVersion"]).rpartition("/")
    model: Any
    if group == "cert-manager.io":
        from cloudcoil.models.cert_manager import v1 as cert_manager

        model = getattr(cert_manager, document["kind"])
    elif group == "monitoring.coreos.com":
        from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

        model = getattr(prometheus_operator, document["kind"])
    else:
        from kubernetes import client

        model = getattr(client, f"{version[0].upper()}{version[1:]}{document['kind']}")
    try:
        read = model.model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    # A model that lets unknown fields pass drops them, and one of a lenient type turns what it is given into its own.
    return differences("", document, read.model_dump(mode="json", by_alias=True, exclude_unset=True))


def differences(at: str, given: object, read: object) -> list[str]:
    """Paths whose value was given, and read otherwise or not at all."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        lost = [f"{at}.{name}: is not known" for name in given if name not in read]
        found = (differences(f"{at}.{name}", given[name], read[name]) for name in given if name in read)
        return lost + [each for nested in found for each in nested]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        pairs = enumerate(zip(given, read, strict=True))
        return [each for place, pair in pairs for each in differences(f"{at}[{place}]", *pair)]
    is_same = given == read and type(given) is type(read)
    return [] if is_same else [f"{at}: {given!r} is read as {read!r}"]
