"""Whatever bytes reach a parser from outside: no crash, no hang, no more memory than a process may take, and an error that says something.

atheris follows by coverage what each parser does with its input. PYMIGRATE_TEST_FUZZ_SECONDS gives each target so many seconds instead of
the short run that everybody makes.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import ROOT, TARGETS
from tests.measuring import unmeasured

SECONDS = int(os.environ.get("PYMIGRATE_TEST_FUZZ_SECONDS", "0"))
RUNS = 400
INPUT_SECONDS_MAX = 10 if not SECONDS else 1
MEMORY_MEGABYTES_MAX = 256

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or sys.version_info >= (3, 14),
    reason="atheris is there for Linux on x86-64 alone, up to Python 3.13",
)


def test_nothing_that_is_sent_to_a_parser_breaks_it(tmp_path: Path) -> None:
    for target in TARGETS:
        corpus = tmp_path / target / "corpus"
        corpus.mkdir(parents=True)
        for at, seed in enumerate(SEEDS[target]()):
            (corpus / str(at)).write_bytes(seed)
    budget = f"-max_total_time={SECONDS}" if SECONDS else f"-runs={RUNS}"
    limits = (f"-timeout={INPUT_SECONDS_MAX}", f"-rss_limit_mb={MEMORY_MEGABYTES_MAX}", "-max_len=4096")
    command = [sys.executable, "-m", "tests.fuzz", ",".join(TARGETS), str(tmp_path), budget, "-seed=1", *limits]
    seconds_max = 600 + SECONDS * len(TARGETS)
    run = subprocess.run(
        command, check=False, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=seconds_max
    )
    found = {str(each.relative_to(tmp_path)): each.read_bytes() for each in tmp_path.glob("*/found/*")}
    assert (run.returncode, found) == (0, {}), run.stderr[-4_000:]
    assert run.stderr.count("Done ") == len(TARGETS)


def test_the_fuzzer_finds_what_a_parser_lets_out(tmp_path: Path) -> None:
    program = tmp_path / "leaky.py"
    program.write_text(
        "import sys, atheris\n"
        "def target(data):\n"
        "    if data[:2] == b'ab':\n"
        "        raise ValueError('let out')\n"
        "atheris.instrument_func(target)\n"
        "atheris.Setup(sys.argv, target)\n"
        "atheris.Fuzz()\n"
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "0").write_bytes(b"aa")
    command = [
        sys.executable,
        str(program),
        str(corpus),
        f"-runs={RUNS * 50}",
        "-seed=1",
        f"-artifact_prefix={tmp_path}/",
    ]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=unmeasured(), timeout=120)
    assert run.returncode != 0
    assert "let out" in run.stderr + run.stdout
