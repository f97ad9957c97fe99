"""Sales files as people have them: other encodings, delimiters and headers, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.seed.retail_file import Line, RetailFile, UnusableFileError

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ROW = "536365,85123A,CAFÉ LANTERN,6,2010-12-01 08:26,2.55,17850,United Kingdom"
LANTERN = Line(
    2, "85123A", "CAFÉ LANTERN", "2.55", invoice="536365", quantity="6",
    invoice_date="2010-12-01 08:26", customer="17850",
)  # fmt: skip


def lines_of(path: Path, content: bytes) -> list[Line]:
    path.write_bytes(content)
    return list(RetailFile.open(path).lines())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sales.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_usual_encoding_gives_the_same_text(file: Path, encoding: str, line_end: str) -> None:
    assert lines_of(file, line_end.join([HEADER, ROW, ""]).encode(encoding)) == [LANTERN]


def test_bytes_that_windows_does_not_define_do_not_stop_the_import(file: Path) -> None:
    content = f"{HEADER}\n".encode() + b"1,A,CAF\xc9 \x81,1,d,1,,\n"
    (line,) = lines_of(file, content)
    assert line == Line(2, "A", "CAFÉ \x81", "1", invoice="1", quantity="1", invoice_date="d")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_and_tabs_separate_columns_too(file: Path, delimiter: str) -> None:
    content = "\n".join(text.replace(",", delimiter) for text in (HEADER, ROW.replace("2.55", "2§55")))
    assert lines_of(file, content.replace("§", ",").encode())[0].unit_price == "2,55"


def test_columns_are_found_by_name_in_any_order_and_spelling(file: Path) -> None:
    content = (
        "Price, stock code ,DESCRIPTION,Invoice,quantity,Customer ID,invoice_date\n"
        "2.55,85123A,CAFÉ LANTERN,536365,6,17850,2010-12-01 08:26\n"
    )
    assert lines_of(file, content.encode()) == [LANTERN]


def test_invoices_and_quantities_may_be_missing(file: Path) -> None:
    (line,) = lines_of(file, b"StockCode,Description,UnitPrice\n1,A,1\n")
    assert (line.invoice, line.quantity) == ("", "")


def test_quotes_may_hold_delimiters_quotes_and_line_ends(file: Path) -> None:
    content = b'StockCode,Description,UnitPrice\nA,"SET OF 3, ""RED""\nAND BLUE",1\n'
    assert lines_of(file, content) == [Line(3, "A", 'SET OF 3, "RED"\nAND BLUE', "1")]


def test_a_line_of_another_width_is_marked_and_the_next_one_is_read(file: Path) -> None:
    lines = lines_of(file, b"StockCode,Description,UnitPrice\nA,B\n\nA,B,1,2\nA,B,1\n")
    assert [(line.number, line.malformed) for line in lines] == [(2, True), (4, True), (5, False)]


def test_a_header_alone_has_no_lines(file: Path) -> None:
    assert lines_of(file, HEADER.encode()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n \n", "is empty"),
        (b"PK\x03\x04\x14\x00", "save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as CSV"),
        (b"\x1f\x8b\x08", "unpack it"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\n <!DOCTYPE html><html>", "download the data file itself"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "download the data file itself"),
        (b'{"items": []}', "has no column StockCode"),
        (b"StockCode,Description,Quantity\n1,2,3\n", "has no column UnitPrice"),
        (ROW.encode(), "has no column StockCode or Description or UnitPrice"),
        (b"\x8e" * 300_000, "has no column"),
        (b"\xff\xfe\x00", "is not valid UTF-16"),
    ],
)
def test_a_file_that_is_something_else_is_one_line_that_says_what_to_do(
    file: Path, content: bytes, message: str
) -> None:
    with pytest.raises(UnusableFileError, match=message) as refused:
        lines_of(file, content)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_quote_that_is_never_closed_is_named_and_does_not_eat_the_memory(file: Path) -> None:
    with pytest.raises(UnusableFileError, match="not closed"):
        lines_of(file, b'StockCode,Description,UnitPrice\nA,"B,1\n' + b"x" * 1_000_000)


def test_a_missing_file_a_directory_and_a_device_are_refused(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "no.csv", "does not exist"),
        (tmp_path, "is a directory"),
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ]:
        with pytest.raises(UnusableFileError, match=message):
            RetailFile.open(path)
