"""The one container of a pod as a process of this machine: its command, its variables, and its volumes as folders.

Paths at which volumes are mounted can't be had here: wherever a variable or an argument names one, the folder stands in its place.
"""

import base64
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubectl import Kubectl

# What the image's PATH finds.
PROGRAMS = {"pymigrate": ("-m", "pymigrate.engine.main.cli"), "python": ()}
ENTRYPOINT = ("pymigrate",)
REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
LABELLED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


@dataclass(frozen=True, slots=True)
class PodProcess:
    """How a container is started here."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folders: Mapping[str, Path]


class PodFolder:
    """Where the volumes of one pod lie, filled from what is stored in its namespace."""

    def __init__(self, kubectl: Kubectl, pod: Mapping[str, Any], folder: Path) -> None:
        self._kubectl = kubectl
        self._pod = pod
        self._folder = folder
        [self._container] = pod["spec"]["containers"]
        self._namespace = pod["metadata"]["namespace"]

    def process(self) -> PodProcess:
        """Fills the volumes, and says how the container is started."""
        folders = {each["mountPath"]: self._folder / each["name"] for each in self._container.get("volumeMounts", ())}
        self.fill()
        environment: dict[str, str] = {}
        for name, value in self._variables():
            environment[name] = self._placed(_expanded(value, environment), folders)
        command = self._container.get("command") or ENTRYPOINT
        arguments = [self._placed(each, folders) for each in (*command[1:], *self._container.get("args", ()))]
        return PodProcess((sys.executable, *PROGRAMS[command[0]], *arguments), environment, folders)

    def fill(self) -> None:
        """Writes what Secrets and ConfigMaps hold now, as a kubelet does again and again."""
        for volume in self._pod["spec"].get("volumes", ()):
            place = self._folder / volume["name"]
            place.mkdir(parents=True, exist_ok=True)
            for kind, key in (("secret", "secretName"), ("configMap", "name")):
                if kind in volume:
                    self._write(place, self._data(kind, volume[kind][key]), volume[kind].get("items"))
        for mount in self._container.get("volumeMounts", ()):
            (self._folder / mount["name"]).mkdir(parents=True, exist_ok=True)  # of a claim

    def _write(self, place: Path, data: Mapping[str, bytes], items: Sequence[Mapping[str, str]] | None) -> None:
        names = {each["key"]: each["path"] for each in items} if items else {key: key for key in data}
        for key, name in names.items():
            written = place / f".{name}"
            written.write_bytes(data[key])
            written.replace(place / name)

    def _variables(self) -> Iterator[tuple[str, str]]:
        for each in self._container.get("envFrom", ()):
            [kind] = each.keys() & {"secretRef", "configMapRef"}
            held = self._data(
                kind.removesuffix("Ref"), each[kind]["name"], is_optional=each[kind].get("optional", False)
            )
            yield from ((key, value.decode()) for key, value in held.items())
        for each in self._container.get("env", ()):
            yield each["name"], self._value(each)

    def _value(self, variable: Mapping[str, Any]) -> str:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        for kind in ("secret", "configMap"):
            if reference := source.get(f"{kind}KeyRef"):
                return self._data(kind, reference["name"])[reference["key"]].decode()
        return str(variable.get("value", ""))

    def _field(self, path: str) -> str:
        metadata = self._pod["metadata"]
        if labelled := LABELLED.fullmatch(path):
            return str(metadata.get(labelled[1], {}).get(labelled[2], ""))
        assert path in {"metadata.name", "metadata.namespace", "metadata.uid"}, path
        return str(metadata[path.removeprefix("metadata.")])

    def _data(self, kind: str, name: str, *, is_optional: bool = False) -> dict[str, bytes]:
        more = ("--ignore-not-found",) if is_optional else ()
        said = self._kubectl("get", kind.lower(), name, "-n", self._namespace, "-o", "json", *more)
        found = json_of(said).get("data", {})
        return {key: base64.b64decode(value) if kind == "secret" else value.encode() for key, value in found.items()}

    def _placed(self, text: str, folders: Mapping[str, Path]) -> str:
        # In one go: a folder's own path may begin like one that something is mounted at.
        paths = "|".join(re.escape(each) for each in sorted(folders, key=len, reverse=True))
        return (
            re.sub(rf"(?<![\w.-])(?:{paths})(?=/|$)", lambda found: str(folders[found[0]]), text) if folders else text
        )


def _expanded(value: str, known: Mapping[str, str]) -> str:
    """With `$(NAME)` replaced by what was said before."""
    return REFERENCE.sub(lambda found: known.get(found[1], found[0]), value)


def json_of(said: str) -> dict[str, Any]:
    """What kubectl printed, as data; nothing where it printed nothing."""
    import json

    found: dict[str, Any] = json.loads(said) if said.strip() else {}
    return found
