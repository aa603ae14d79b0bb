"""What it takes to speak to a backend is imported where there is one of its kind."""

import subprocess
import sys

import pytest

LIBRARIES = ("boto3", "botocore", "hvac", "kubernetes")
LOOK = f"import sys; print([name for name in {LIBRARIES} if name in sys.modules])"
READ = """
from pymigrate.engine.main.secrets import build_readers
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import SecretRef
readers = build_readers(Redactor())
with readers.held({}) as secrets:
    secrets.read(SecretRef("env", "PATH"))
readers.close()
"""


@pytest.mark.parametrize(
    "imports", ["import pymigrate.engine.main.worker", "import pymigrate.engine.main.dispatcher", READ]
)
def test_a_process_without_backends_imports_none_of_their_libraries(imports: str) -> None:
    told = subprocess.run([sys.executable, "-c", f"{imports}\n{LOOK}"], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
