"""Generates the Python side of proto/pymigrate/v1 in place, and tells whether what is committed is what the files say.

The proto package and the Python package are both `pymigrate.v1`, so no generated import is rewritten. The check
generates into a temporary directory and compares: an edit by hand, a forgotten `make proto` and a file whose .proto
is gone all count as drift.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = Path("pymigrate") / "v1"
GENERATED = "*_pb2*.py*"


def generate(output: Path) -> None:
    """Write messages, stubs and the types of both for every .proto of the contract below `output`."""
    sources = sorted(path.relative_to(PROTO).as_posix() for path in (PROTO / PACKAGE).glob("*.proto"))
    if not sources:
        return
    plugins = Path(sys.executable).parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PROTO}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
            f"--python_out={output}",
            f"--grpc_python_out={output}",
            f"--mypy_out=quiet:{output}",
            f"--mypy_grpc_out=quiet:{output}",
            *sources,
        ],
        check=True,
    )


def contents(root: Path) -> dict[str, bytes]:
    """The generated files below `root`, by name."""
    return {path.name: path.read_bytes() for path in sorted((root / PACKAGE).glob(GENERATED))}


def drift() -> list[str]:
    """One line for each committed file that differs from what the .proto files generate."""
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory))
        wanted = contents(Path(directory))
    present = contents(PROTO)
    names = {
        "missing": wanted.keys() - present.keys(),
        "has no .proto": present.keys() - wanted.keys(),
        "differs": {name for name in wanted.keys() & present.keys() if wanted[name] != present[name]},
    }
    return [f"proto/{PACKAGE.as_posix()}/{name}: {what}" for what, which in names.items() for name in sorted(which)]


def main() -> int:
    """Generate in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the generated code drifted")
    if parser.parse_args().check:
        differences = drift()
        for line in differences:
            print(line, file=sys.stderr)
        if differences:
            print("run `make proto` and commit the result", file=sys.stderr)
        return 1 if differences else 0
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory))
        wanted = contents(Path(directory))
    for name in contents(PROTO).keys() - wanted.keys():
        (PROTO / PACKAGE / name).unlink()
    for name, content in wanted.items():
        target = PROTO / PACKAGE / name
        if not target.exists() or target.read_bytes() != content:
            target.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
