"""How a dataset's files and answers are written, from the contract's messages."""

from pymigrate.engine.ports.file_formats import CsvFormat, FileFormat, JsonLinesFormat, ParquetFormat, format_of
from pymigrate.engine.ports.http_format import (
    CursorPaging,
    HttpJsonFormat,
    LinkHeaderPaging,
    OffsetPaging,
    PageNumberPaging,
    Paging,
)
from pymigrate.v1 import plan_pb2

PAGE_ROWS_DEFAULT = 100
PACKINGS = {
    plan_pb2.FILE_PACKING_UNSPECIFIED: "",
    plan_pb2.FILE_PACKING_NONE: "",
    plan_pb2.FILE_PACKING_GZIP: ".gz",
    plan_pb2.FILE_PACKING_ZSTD: ".zst",
}


def ending_of(target: plan_pb2.DatasetTarget) -> str:
    """The ending of the files that the target's format has; empty where none is said."""
    match target.WhichOneof("format"):
        case "csv":
            return f"csv{PACKINGS[target.csv.packing]}"
        case "json_lines":
            return f"jsonl{PACKINGS[target.json_lines.packing]}"
        case "parquet":
            return "parquet"
        case _:
            return ""


def csv_format(source: plan_pb2.DatasetSource) -> CsvFormat | None:
    """How the source's CSV is written; None where it is no CSV."""
    form = source_format(source) or format_of(source.relation)
    return form if isinstance(form, CsvFormat) else None


def source_format(source: plan_pb2.DatasetSource) -> FileFormat | HttpJsonFormat | None:
    """The source's format as the dataset declares it; None where its name's ending is to say."""
    match source.WhichOneof("format"):
        case "csv":
            return CsvFormat(source.csv.delimiter or ",", tuple(source.csv.null_values))
        case "json_lines":
            return JsonLinesFormat(tuple(source.json_lines.null_values))
        case "parquet":
            return ParquetFormat()
        case "http_json":
            form = source.http_json
            return HttpJsonFormat(
                form.records, dict(form.parameters), _paging(form), form.total, tuple(form.null_values)
            )
        case _:
            return None


def _paging(form: plan_pb2.HttpJsonFormat) -> Paging | None:
    match form.WhichOneof("paging"):
        case "page_number":
            paging = form.page_number
            first = paging.first_page if paging.HasField("first_page") else 1
            return PageNumberPaging(
                paging.parameter or "page", paging.size_parameter, paging.size or PAGE_ROWS_DEFAULT, first
            )
        case "offset":
            return OffsetPaging(
                form.offset.parameter or "offset",
                form.offset.limit_parameter or "limit",
                form.offset.limit or PAGE_ROWS_DEFAULT,
            )
        case "cursor":
            return CursorPaging(form.cursor.next, form.cursor.parameter)
        case "link_header":
            return LinkHeaderPaging()
        case _:
            return None
