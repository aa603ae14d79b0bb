"""Files that are compressed as a whole: read as streams, gone on with only where the same was unpacked before, never read in part."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, SourceChanged, SourceMissing
from pymigrate.engine.ports.ranges import Position
from tests.integration.connectors.source_files import Folder

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda content: bytes(pa.compress(content, "zstd", asbytes=True)),
}
TEXT = b"id,name\n" + b"".join(b'%d,"name ""%d"""\n' % (number, number) for number in range(20_000))
ROWS = [(str(number), f'name "{number}"') for number in range(20_000)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("ending", PACKED)
def test_a_packed_file_is_read_as_what_it_unpacks_to(folder: Folder, ending: str) -> None:
    folder.write(f"t.csv{ending}", PACKED[ending](TEXT))

    assert folder.rows(f"t.csv{ending}", chunk_bytes=10_000) == ROWS


def test_a_file_of_several_gzip_members_is_one(folder: Folder) -> None:
    at = len(TEXT) // 2
    folder.write("t.csv.gz", gzip.compress(TEXT[:at]) + gzip.compress(TEXT[at:]))

    assert folder.rows("t.csv.gz") == ROWS


@pytest.mark.parametrize("ending", PACKED)
def test_reading_goes_on_exactly_where_it_ended(folder: Folder, ending: str) -> None:
    folder.write(f"t.csv{ending}", PACKED[ending](TEXT))
    chunks = folder.chunks(f"t.csv{ending}", chunk_bytes=100_000)
    assert len(chunks) > 3

    for chunk in chunks:
        place = json.loads(chunk.end)
        assert TEXT[: place["offset"]].endswith(b"\n")
        assert folder.rows(f"t.csv{ending}", after=chunk.end) == ROWS[place["row"] :]


def test_a_place_that_unpacks_to_something_else_is_not_gone_on_from(folder: Folder) -> None:
    folder.write("t.csv.gz", gzip.compress(TEXT))
    [first, *_] = folder.chunks("t.csv.gz", chunk_bytes=100_000)
    folder.write("t.csv.gz", gzip.compress(TEXT.replace(b"name", b"eman")))

    with pytest.raises(SourceChanged, match=r"t\.csv\.gz no longer holds the [\d,]+ records") as found:
        folder.rows("t.csv.gz", after=first.end)
    assert found.value.field == "source.relation"


@pytest.mark.parametrize("content", [b"id\n1\n", b"id\n100000\n"])
def test_a_place_behind_the_end_or_within_a_record_is_not_gone_on_from(folder: Folder, content: bytes) -> None:
    folder.write("t.csv", content)

    with pytest.raises(SourceChanged, match=r"t\.csv no longer holds the 2 records"):
        folder.rows("t.csv", after=Position('{"offset": 7, "row": 2}'))


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_packed_file_that_is_cut_off_is_refused_where_it_ends(folder: Folder, ending: str, share: float) -> None:
    packed = PACKED[ending](TEXT)
    folder.write(f"t.csv{ending}", packed[: int(len(packed) * share)])

    with pytest.raises(DataRefused, match=r"t\.csv\.\w+, after row \d+: the \w+ data is damaged or cut off") as found:
        folder.rows(f"t.csv{ending}", chunk_bytes=50_000)
    assert found.value.field == "source.relation"


@pytest.mark.parametrize("ending", PACKED)
def test_a_packed_file_with_garbage_behind_it_is_refused(folder: Folder, ending: str) -> None:
    folder.write(f"t.jsonl{ending}", PACKED[ending](b'{"a": 1}\n' * 10) + b"garbage")

    with pytest.raises(DataRefused, match="is damaged or cut off"):
        folder.rows(f"t.jsonl{ending}")


def test_zstd_with_a_checksum_and_a_bit_that_fell_over_is_refused(folder: Folder) -> None:
    import zstandard

    packed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(TEXT))
    packed[len(packed) // 2] ^= 0x10
    folder.write("t.csv.zst", bytes(packed))

    with pytest.raises(DataRefused, match="is damaged or cut off"):
        folder.rows("t.csv.zst")


@pytest.mark.parametrize(("name", "content"), [("t.csv.gz", b"id\n1\n"), ("t.jsonl.zst", b'{"a": 1}\n')])
def test_a_file_that_is_not_packed_as_its_name_says_is_refused(folder: Folder, name: str, content: bytes) -> None:
    folder.write(name, content)

    with pytest.raises(DataRefused, match=f"{name}, after row 0: the "):
        folder.describe(name)


def test_an_empty_packed_file_is_an_empty_file(folder: Folder) -> None:
    folder.write("t.csv.gz", gzip.compress(b""))
    folder.write("u.csv.gz", b"")

    for name in ("t.csv.gz", "u.csv.gz"):
        with pytest.raises(SourceMissing, match=f"{name} is empty"):
            folder.describe(name)


def test_packed_parquet_is_refused_with_what_to_do(folder: Folder) -> None:
    folder.write("t.parquet.gz", gzip.compress(b"PAR1"))

    with pytest.raises(InvalidDefinition, match="Parquet is packed inside: unpack it"):
        folder.describe("t.parquet.gz")
