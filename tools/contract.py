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

PROTO = Path(__file__).resolve().parent.parent / "proto"
PACKAGE = Path("pymigrate") / "v1"
GENERATED = "*_pb2*.py*"


def generate(proto: Path, output: Path) -> None:
    """Write messages, stubs and the types of both for every .proto of the contract below `proto` to `output`."""
    sources = sorted(path.relative_to(proto).as_posix() for path in (proto / PACKAGE).glob("*.proto"))
    if not sources:
        return
    plugins = Path(sys.executable).parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{proto}",
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


def wanted(proto: Path) -> dict[str, bytes]:
    """What the .proto files below `proto` generate, by name."""
    with tempfile.TemporaryDirectory() as directory:
        generate(proto, Path(directory))
        return contents(Path(directory))


def drift(proto: Path = PROTO) -> list[str]:
    """One line for each generated file below `proto` that is not what its .proto generates."""
    expected, present = wanted(proto), contents(proto)
    findings = {
        "missing": expected.keys() - present.keys(),
        "has no .proto": present.keys() - expected.keys(),
        "differs": {name for name in expected.keys() & present.keys() if expected[name] != present[name]},
    }
    return [f"{PACKAGE.as_posix()}/{name}: {what}" for what, names in findings.items() for name in sorted(names)]


def renew(proto: Path = PROTO) -> None:
    """Generate in place below `proto`: write what differs, remove what no .proto generates any more."""
    expected, present = wanted(proto), contents(proto)
    for name in present.keys() - expected.keys():
        (proto / PACKAGE / name).unlink()
    for name, content in expected.items():
        if present.get(name) != content:
            (proto / PACKAGE / name).write_bytes(content)


def main() -> int:
    """Generate in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the generated code drifted")
    if not parser.parse_args().check:
        renew()
        return 0
    findings = drift()
    for finding in findings:
        print(finding, file=sys.stderr)
    if findings:
        print("run `make proto` and commit the result", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
