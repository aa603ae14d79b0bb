"""Folders of CSV and JSON Lines as targets: the contract, and how values lie in the files."""

import csv
import gzip
import io
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from pymigrate.engine.adapters.connectors.files_target import FilesTarget
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.staging import Checkpoint, Dangling, ReferenceCheck, Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.source_files import Folder
from tests.integration.connectors.target_append_contract import AppendContract
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import AppendCrashContract, CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import (
    LaneWriter,
    a_batch,
    a_staging,
    after,
    numbered,
    pairs,
    published,
    staged,
)
from tests.integration.connectors.target_merge_contract import SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_repair_contract import RepairContract
from tests.integration.connectors.target_types_contract import TypeContract

ENDINGS = ("csv.gz", "jsonl")
TIMES_OUTSIDE = ("negative", "24:00")
UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.decompress,
    "zst": lambda content: zstandard.ZstdDecompressor().decompressobj().decompress(content),
}


class TextHarness:
    """A folder; somebody else writes and reads its files with Python's own modules."""

    def __init__(self, root: Path, ending: str) -> None:
        self.root = root
        self.ending = ending
        self.form = ending.partition(".")[0]
        self.system = SystemSpec("files", "lake", {"root": str(root), "ending": ending})

    def open(self) -> Target:
        return FilesTarget(self.system, self.ending)

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        (self.root / relation).mkdir(parents=True)
        self.write(relation, f"mine.{self.form}", rows)

    def write(self, relation: str, name: str, rows: Sequence[tuple[int, str | None]]) -> None:
        if self.form == "jsonl":
            text = "".join(json.dumps({"id": at, "name": name}) + "\n" for at, name in rows)
        else:
            text = "id,name\n" + "".join(f"{at},{'' if name is None else json.dumps(name)}\n" for at, name in rows)
        (self.root / relation / name).write_text(text)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.write(relation, f"more-{len(list((self.root / relation).iterdir()))}.{self.form}", [row])

    def change(self, relation: str, id: int, name: str) -> None:
        for path in sorted((self.root / relation).iterdir()):
            rows = self.rows_of(path)
            if any(at == id for at, _ in rows):
                self.rewrite(path, [(at, name if at == id else text) for at, text in rows])

    def change_one(self, relation: str, id: int, name: str) -> None:
        path = max((self.root / relation).iterdir())
        self.rewrite(path, [(at, name if at == id else text) for at, text in self.rows_of(path)])

    def rewrite(self, path: Path, rows: Sequence[tuple[int, str | None]]) -> None:
        """Another file in its place, which is not packed."""
        path.unlink()
        self.write(path.parent.name, path.name.removesuffix(".gz").removesuffix(".zst"), rows)

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        raise NotADirectoryError(f"{relation} of {staging.id}: files are not merged into")

    def drop(self, relation: str) -> None:
        shutil.rmtree(self.root / relation)

    def make_view(self, view: str, relation: str) -> None:
        raise NotADirectoryError(f"{view} over {relation}: files have no views")

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        rows = [row for path in (self.root / relation).iterdir() for row in self.rows_of(path)]
        return sorted(rows, key=lambda row: (row[0], str(row[1])))

    def rows_of(self, path: Path) -> list[tuple[int, str | None]]:
        """The rows of one file."""
        text = unpacked(path)
        if self.form == "jsonl":
            return [(row["id"], row["name"]) for row in map(json.loads, text.splitlines())]
        empty = {line.split(",", 1)[0] for line in text.splitlines()[1:] if line.endswith(",")}
        return [(int(at), None if at in empty else name) for at, name in list(csv.reader(io.StringIO(text)))[1:]]

    def texts(self, relation: str) -> list[str]:
        return [unpacked(path) for path in sorted((self.root / relation).iterdir())]


def unpacked(path: Path) -> str:
    """What a file holds."""
    return UNPACKED.get(path.suffix[1:], bytes)(path.read_bytes()).decode()


@pytest.fixture(params=ENDINGS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> TextHarness:
    return TextHarness(tmp_path / "lake", request.param)


@pytest.fixture(params=["csv", "jsonl"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> TextHarness:
    return TextHarness(tmp_path / "lake", request.param)


class TestTextLanes(LaneContract):
    """See the contract."""


class TestTextStaging(StagingContract):
    """See the contract."""


class TestTextPublication(PublicationContract):
    """See the contract."""


class TestTextQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestTextSealing(SealContract):
    """What can't be undone any more."""


class TestTextAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestTextAppendCrashes(AppendCrashContract):
    """See the contract."""

    @pytest.fixture(params=["jsonl.zst"])
    def harness(self, request: pytest.FixtureRequest, tmp_path: Path) -> TextHarness:
        return TextHarness(tmp_path / "lake", request.param)


@pytest.mark.parametrize(("there", "ours"), [("csv", "jsonl"), ("jsonl", "csv.gz"), ("csv.gz", "parquet")])
def test_a_folder_that_holds_another_format_is_not_appended_to(tmp_path: Path, there: str, ours: str) -> None:
    mine = TextHarness(tmp_path / "lake", there)
    published(mine.open(), a_staging(), numbered(1, 3))
    found = files(tmp_path)
    other, form = FilesTarget(mine.system, ours), there.partition(".")[0]
    with pytest.raises(InvalidDefinition) as refused:
        other.check(a_staging(is_append=True))
    [problem] = refused.value.problems
    assert problem == Problem("target.relation", f"`orders` holds {form} files, and these would be {ours}")
    assert files(tmp_path) == found
    assert mine.read("orders") == numbered(1, 3)


@pytest.mark.parametrize(("there", "ours"), [("csv", "csv.gz"), ("jsonl.zst", "jsonl")])
def test_a_folder_of_the_same_format_is_appended_to_however_each_file_is_packed(
    tmp_path: Path, there: str, ours: str
) -> None:
    mine, other = TextHarness(tmp_path / "lake", there), TextHarness(tmp_path / "lake", ours)
    published(mine.open(), a_staging(), numbered(1, 3))
    staging = a_staging(is_append=True)
    other.open().check(staging)
    published(other.open(), staging, numbered(4, 5))
    assert mine.read("orders") == numbered(1, 5)
    other.open().rollback([staging])
    assert mine.read("orders") == numbered(1, 3)


def files(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


YEARS = frozenset(
    {
        *((kind, label) for kind in ("float32", "float64") for label in ("a nan with a payload",)),
        *(("date", label) for label in ("the year 10000", "the year 0", "the lowest int32", "the highest int32")),
        *(
            (kind, label)
            for kind in ("timestamp", "timestamptz")
            for label in ("the year 10000", "the year 0", "the year 294246", "the lowest int64", "the highest int64")
        ),
        *(("time", label) for label in TIMES_OUTSIDE),
    }
)


class TestCsvTypes(TypeContract):
    """See the contract."""

    refuses = YEARS | {("string", "NUL"), ("string", "NUL alone")}

    @pytest.fixture
    def harness(self, tmp_path: Path) -> TextHarness:
        return TextHarness(tmp_path / "lake", "csv")


class TestJsonLinesTypes(TypeContract):
    """See the contract."""

    refuses = YEARS

    @pytest.fixture
    def harness(self, tmp_path: Path) -> TextHarness:
        return TextHarness(tmp_path / "lake", "jsonl.zst")


class TestTextCrashes(CrashContract):
    """See the contract."""

    @pytest.fixture(params=["csv.gz"])
    def harness(self, request: pytest.FixtureRequest, tmp_path: Path) -> TextHarness:
        return TextHarness(tmp_path / "lake", request.param)


COLUMNS = [
    ColumnInfo(name, parse_type(kind))
    for name, kind in {
        "i": "uint64", "f": "float64", "r": "float32", "d": "decimal(20,10)", "t": "string", "b": "bytes", "day": "date", "at": "time",
        "ts": "timestamp", "tz": "timestamptz", "j": "json", "ok": "bool",
    }.items()
]  # fmt: skip
CSV_TEXT = (
    '"i","f","r","d","t","b","day","at","ts","tz","j","ok"\n'
    '18446744073709551615,nan,0.1,0E-10,"","AP8=",0001-01-01,00:00:00.000001,1970-01-01 00:00:00.000001,1970-01-01 00:00:00.000001Z,'
    '"{""a"": 1.10}",true\n'
    ',,,,,,,,,,,\n'
)  # fmt: skip
JSON_TEXT = (
    '{"i":18446744073709551615,"f":"nan","r":0.1,"d":"0E-10","t":"","b":"AP8=","day":"0001-01-01","at":"00:00:00.000001",'
    '"ts":"1970-01-01 00:00:00.000001","tz":"1970-01-01 00:00:00.000001Z","j":"{\\"a\\": 1.10}","ok":true}\n'
    '{"i":null,"f":null,"r":null,"d":null,"t":null,"b":null,"day":null,"at":null,"ts":null,"tz":null,"j":null,"ok":null}\n'
)


def test_values_lie_in_the_files_as_the_guide_says(plain: TextHarness) -> None:
    arrays = [
        pa.array([value, None], pa.int64()).cast(field.type) if name in {"at", "ts", "tz"} else pa.array([value, None], field.type)
        for (name, value), field in zip(
            {
                "i": 2**64 - 1, "f": float("nan"), "r": 0.1, "d": Decimal(0), "t": "", "b": b"\0\xff", "day": -719_162, "at": 1,
                "ts": 1, "tz": 1, "j": '{"a": 1.10}', "ok": True,
            }.items(),
            arrow_schema(COLUMNS),
            strict=True,
        )
    ]  # fmt: skip
    batch = pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(COLUMNS))
    target, staging = plain.open(), a_staging(columns=COLUMNS)
    target.prepare(staging)
    at = target.claim(staging, "lane", 1)
    target.commit(staging, "lane", 1, at, after(at, 2), [batch])

    target.publish([staging])

    assert plain.texts("orders") == [{"csv": CSV_TEXT, "jsonl": JSON_TEXT}[plain.form]]


def test_what_was_written_is_read_by_the_source_as_it_was(harness: TextHarness) -> None:
    published(harness.open(), a_staging(), [(1, "a"), (2, ""), (3, None), (4, 'q"\n,'), (5, "NULL")])

    form = CsvFormat(null_values=("",)) if harness.form == "csv" else None
    found = Folder(harness.root).rows("orders/*", form, {"id": "int64"})

    assert found == [(1, "a"), (2, ""), (3, None), (4, 'q"\n,'), (5, "NULL")]


def test_parts_of_one_staging_have_the_format_that_it_names(tmp_path: Path) -> None:
    target, staging = FilesTarget(SystemSpec("files", "lake", {"root": str(tmp_path)})), a_staging(ending="jsonl.gz")
    staged(target, staging, numbered(1, 2))
    target.publish([staging])

    assert [path.name for path in (tmp_path / "orders").iterdir()] == ["part-lane-00000001.jsonl.gz"]
    assert target.rows("orders") == 2


def test_a_folder_of_another_format_is_replaced_and_comes_back(tmp_path: Path) -> None:
    target = FilesTarget(SystemSpec("files", "lake", {"root": str(tmp_path)}))
    published(target, a_staging(ending="csv"), numbered(1, 3))
    other = a_staging(is_replace=True, ending="parquet")
    published(target, other, numbered(7, 8))
    assert target.rows("orders") == 2

    target.rollback([other])

    assert [path.name for path in (tmp_path / "orders").iterdir()] == ["part-lane-00000001.csv"]
    assert target.rows("orders") == 3


def test_references_are_looked_up_in_text_as_what_refers_to_it(harness: TextHarness) -> None:
    target, staging = harness.open(), a_staging()
    staged(target, staging, [(1, "a"), (2, "b"), (3, None)])
    harness.make("parents", [(1, "b"), (3, "c")])

    assert target.dangling(staging, ReferenceCheck(("name",), "parents", ("name",))) == Dangling(1, 1, ("a",))
    assert target.dangling(staging, ReferenceCheck(("id",), "parents", ("id",))) == Dangling(1, 1, ("2",))


def test_a_part_that_was_changed_is_not_read_as_something_else(harness: TextHarness) -> None:
    target, staging = harness.open(), a_staging()
    staged(target, staging, numbered(1, 500))
    [path] = (harness.root / ".pymigrate" / "staging" / staging.id).iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    if harness.ending == "jsonl":  # a record is cut, or some are gone: their digest tells then
        try:
            assert pairs(target.read_staging(staging)) != numbered(1, 500)
        except DataRefused:
            return
    else:
        with pytest.raises(DataRefused, match="is damaged or cut off"):
            list(target.read_staging(staging))


def test_a_root_elsewhere_is_no_target() -> None:
    with pytest.raises(InvalidDefinition, match="`s3://bucket/x` is no folder of the worker host"):
        FilesTarget(SystemSpec("files", "lake", {"root": "s3://bucket/x"}))


def test_a_root_written_as_a_url_of_this_host_is_a_folder(tmp_path: Path) -> None:
    target = FilesTarget(SystemSpec("files", "lake", {"root": f"file://{tmp_path}"}))
    published(target, a_staging(ending="csv"), numbered(1, 3))

    assert (tmp_path / "orders" / "part-lane-00000001.csv").exists()


DISK_FULL = """
import resource, signal, sys
from tests.integration.connectors.test_text_targets import fill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fill(sys.argv[1], sys.argv[2])
"""
FILE_BYTES_MAX = 100_000


def fill(root: str, ending: str) -> None:
    """Commits a chunk that the disk holds, and one that it does not; both sizes are told."""
    target, staging = FilesTarget(SystemSpec("files", "lake", {"root": root}), ending), a_staging()
    target.prepare(staging)
    lane = LaneWriter(target, staging).claim()
    lane.commit(numbered(1, 100))
    rows = [(at, f"{(at * 2654435761) % 2**64:020}" * 3) for at in range(101, 20_000)]
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
    try:
        target.commit(staging, "lane", 1, lane.at, after(lane.at, len(rows)), [a_batch(rows)])
    except SystemUnavailable as error:
        sys.stdout.write(error.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert pairs(target.read_staging(staging)) == numbered(1, 100)
    assert target.checkpoint(staging, "lane") == (lane.at, 1)
    lane.commit(rows)
    assert target.count_staging(staging) == 19_999
    assert not list(Path(root).rglob("*.draft"))


@pytest.mark.parametrize("ending", [*ENDINGS, "parquet"])
def test_a_disk_that_is_full_loses_nothing_and_the_chunk_is_written_once_there_is_room(
    tmp_path: Path, ending: str
) -> None:
    found = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path / "lake"), ending], capture_output=True, text=True, check=False
    )

    assert (found.returncode, found.stderr) == (0, "")
    assert "File too large" in found.stdout


def test_a_checkpoint_counts_rows_and_not_files(harness: TextHarness) -> None:
    with closing(harness.open()) as target:
        staging = a_staging()
        staged(target, staging, [])
        assert target.count_staging(staging) == 0
        target.publish([staging])
        assert target.rows("orders") == 0
        assert target.checkpoint(staging, "lane")[0] != Checkpoint()
