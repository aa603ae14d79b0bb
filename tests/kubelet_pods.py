"""What a node makes of a pod, as far as a process of this machine can be one: its volumes as folders, its variables, its one container.

Paths of mounts mean nothing here, so that arguments and variables which are one, or lie below one, are given the folder instead.
"""

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Pod = Mapping[str, Any]
# The data of a Secret or a ConfigMap, encoded as the API tells it: kind, namespace, name.
ReadData = Callable[[str, str, str], Mapping[str, str]]
REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
# What may stand before a path: an option, or the scheme of a reference.
LED = re.compile(r"--[\w-]+=|file://")
SIGNAL_CODES = 128
# What the image runs, and what its PATH finds.
ENTRYPOINT = ("pymigrate",)
PROGRAMS = {
    "pymigrate": (sys.executable, "-m", "pymigrate.engine.main.cli"),
    "python": (sys.executable,),
    "python3": (sys.executable,),
}


class PodMisconfigured(Exception):
    """A volume or a variable names what is not there."""


class PodProcess:
    """The process of a pod's container."""

    def __init__(self, pod: Pod, folder: Path, claims: Path, read: ReadData) -> None:
        self.pod = pod
        self.is_asked_to_end = False
        self.ended_as = ""  # why, where the node itself ended it
        self._read = read
        self._folder = folder
        self._claims = claims
        [self._container] = pod["spec"]["containers"]
        self._mounts = self._mounted()
        variables = self._variables()
        program, *more = self._container.get("command") or ENTRYPOINT
        given = [*more, *self._container.get("args", ())]
        arguments = [*PROGRAMS[program], *(self._placed(_expanded(each, variables)) for each in given)]
        self.log = folder / "log"
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("PYMIGRATE_", "KUBE"))}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                arguments,
                env=outside | {key: self._placed(value) for key, value in variables.items()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """As a container's; None while it runs."""
        code = self.process.poll()
        return code if code is None or code >= 0 else SIGNAL_CODES - code

    def end(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def refresh(self) -> None:
        """Brings the files of Secrets and ConfigMaps up to date, as nodes do in their time."""
        for volume in self.pod["spec"].get("volumes", ()):
            self._fill(volume)

    def _mounted(self) -> dict[str, Path]:
        for volume in self.pod["spec"].get("volumes", ()):
            self._fill(volume)
        return {
            mount["mountPath"]: self._place(mount["name"]) / mount.get("subPath", "")
            for mount in self._container.get("volumeMounts", ())
        }

    def _place(self, volume: str) -> Path:
        for each in self.pod["spec"].get("volumes", ()):
            if each["name"] == volume and "persistentVolumeClaim" in each:
                return self._claims / str(each["persistentVolumeClaim"]["claimName"])
        return self._folder / "volumes" / volume

    def _fill(self, volume: Mapping[str, Any]) -> None:
        place = self._place(volume["name"])
        place.mkdir(parents=True, exist_ok=True)
        namespace = self.pod["metadata"]["namespace"]
        for kind, named in (("secret", "secretName"), ("configMap", "name")):
            if kind in volume:
                content = self._content(kind, namespace, volume[kind], named)
                items = volume[kind].get("items") or [{"key": key, "path": key} for key in content]
                for item in items:
                    fresh = place / f".{item['path']}"
                    fresh.write_bytes(content[item["key"]])
                    fresh.replace(place / item["path"])

    def _content(self, kind: str, namespace: str, source: Mapping[str, Any], named: str = "name") -> dict[str, bytes]:
        """What is in a Secret or a ConfigMap; nothing where it is not there and need not be."""
        try:
            found = self._read(kind, namespace, source[named])
        except PodMisconfigured:
            if source.get("optional"):
                return {}
            raise
        return {key: base64.b64decode(value) if kind == "secret" else value.encode() for key, value in found.items()}

    def _variables(self) -> dict[str, str]:
        found: dict[str, str] = {}
        namespace = self.pod["metadata"]["namespace"]
        for source in self._container.get("envFrom", ()):
            for kind, word in (("secret", "secretRef"), ("configMap", "configMapRef")):
                if word in source:
                    content = self._content(kind, namespace, source[word])
                    found |= {source.get("prefix", "") + key: value.decode() for key, value in content.items()}
        for each in self._container.get("env", ()):
            source = each.get("valueFrom") or {}
            if "fieldRef" in source:
                found[each["name"]] = _field(self.pod, source["fieldRef"]["fieldPath"])
            elif word := next((word for word in ("secretKeyRef", "configMapKeyRef") if word in source), ""):
                content = self._content(word.removesuffix("KeyRef"), namespace, source[word])
                if source[word]["key"] in content:
                    found[each["name"]] = content[source[word]["key"]].decode()
                elif not source[word].get("optional"):
                    raise PodMisconfigured(f"couldn't find key {source[word]['key']} in {source[word]['name']}")
            else:
                found[each["name"]] = _expanded(each.get("value", ""), found)
        return found

    def _placed(self, text: str) -> str:
        led = LED.match(text)
        before, value = (led[0], text[led.end() :]) if led else ("", text)
        for path, place in self._mounts.items():
            # What lies below /tmp may be a file of the test's, of which a pod would know nothing.
            if value == path or (value.startswith(f"{path}/") and path != "/tmp"):
                return f"{before}{place}{value[len(path) :]}"
        return text


def _field(pod: Pod, path: str) -> str:
    if found := FIELD.fullmatch(path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part, "")
    return str(value)


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    def told(found: "re.Match[str]") -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return REFERENCE.sub(told, text)
