"""What the comments of proto/pymigrate/v1 say of messages and their fields. Generated code has none of them; the compiler tells."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

PROTO = Path(__file__).resolve().parent.parent / "proto"
# Numbers of fields of descriptors, which the paths of comments are made of.
MESSAGES, NESTED, FIELDS = 4, 3, 2


def comments(left_out: Sequence[str] = ()) -> dict[str, str]:
    """By `Message` and `Message.field`, each in one line; not those of files that are left out."""
    found: dict[str, str] = {}
    for file in _described().file:
        if file.package == "pymigrate.v1" and Path(file.name).stem not in left_out:
            told = {
                tuple(each.path): " ".join(each.leading_comments.split()) for each in file.source_code_info.location
            }
            for place, name in _named(file):
                if told.get(place):
                    found[name] = told[place]
    return found


def _described() -> FileDescriptorSet:
    sources = sorted(path.relative_to(PROTO).as_posix() for path in (PROTO / "pymigrate" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "descriptors"
        paths = [f"-I{PROTO}", f"-I{files('grpc_tools') / '_proto'}"]
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={output}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *paths, *options, *sources], check=True)
        return FileDescriptorSet.FromString(output.read_bytes())


def _named(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Every message and field with its path."""
    waiting: list[tuple[tuple[int, ...], str, DescriptorProto]] = [
        ((MESSAGES, at), message.name, message) for at, message in enumerate(file.message_type)
    ]
    while waiting:
        place, name, message = waiting.pop()
        yield place, name
        yield from (((*place, FIELDS, at), f"{name}.{field.name}") for at, field in enumerate(message.field))
        waiting += [
            ((*place, NESTED, at), f"{name}.{nested.name}", nested) for at, nested in enumerate(message.nested_type)
        ]
