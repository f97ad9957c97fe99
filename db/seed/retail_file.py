"""Read a sales file in the format of the UCI Online Retail data set, whatever program saved it.

Chen, D. (2015), UCI Machine Learning Repository, doi 10.24432/C5BW33; and its successor Online Retail II.
Columns used: StockCode, Description, UnitPrice (`Price` in Online Retail II), and InvoiceNo (`Invoice`), Quantity,
InvoiceDate and CustomerID if they are there; the others do not matter.
UTF-8, UTF-16 with its mark, or Windows/ISO Latin; comma, semicolon or tab; decimal point or comma.
"""

from __future__ import annotations

import codecs
import csv
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS = {"StockCode": ("stockcode",), "Description": ("description",), "UnitPrice": ("unitprice", "price")}
"""The columns that are needed, by the names they go by in lower case without spaces and underscores."""
OPTIONAL_COLUMNS = {
    "InvoiceNo": ("invoiceno", "invoice"),
    "Quantity": ("quantity",),
    "InvoiceDate": ("invoicedate",),
    "CustomerID": ("customerid", "customer"),
}
"""The columns that are read if they are there."""

DELIMITERS = ",;\t"
LONGEST_LINE_CHARACTERS = 100_000
_CHUNK_BYTES = 1 << 20

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE_AS_CSV = "open it in a spreadsheet, save it as CSV (UTF-8) and import that"
_FOREIGN_FORMATS = (
    (b"PK\x03\x04", f"is an Excel workbook or a ZIP archive, not CSV; {_SAVE_AS_CSV}"),
    (b"\xd0\xcf\x11\xe0", f"is an old Excel workbook, not CSV; {_SAVE_AS_CSV}"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it (gunzip) and import the CSV inside"),
    (b"%PDF", "is a PDF, not CSV; import the CSV file of the data set"),
    (b"<", "is a web page (HTML or XML), not CSV; download the data file itself and import that"),
)


class UnusableFileError(ValueError):
    """The file as a whole cannot be imported; the message is one line that says what to do."""


@dataclass(frozen=True)
class Line:
    """One line of the file as it stands; `malformed` when it has another number of fields than the header.

    `invoice` and what is below it are empty when the file has no such column.
    """

    number: int
    stock_code: str = ""
    description: str = ""
    unit_price: str = ""
    malformed: bool = False
    invoice: str = ""
    quantity: str = ""
    invoice_date: str = ""
    customer: str = ""


@dataclass(frozen=True)
class RetailFile:
    """A file that has been looked at: its encoding, delimiter, and where the columns are."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[int, int, int]
    width: int
    optional: tuple[int | None, ...] = (None,) * len(OPTIONAL_COLUMNS)

    @classmethod
    def open(cls, path: Path) -> RetailFile:
        """Raises UnusableFileError for a file that is missing, something else, or without the columns."""
        _check_kind(path)
        encoding = _detect_encoding(path)
        first = next(_text_lines(path, encoding), "")
        for delimiter in sorted(DELIMITERS, key=first.count, reverse=True):
            header = next(csv.reader([first], delimiter=delimiter), [])
            positions = _find_columns(header, COLUMNS)
            if all(position is not None for position in positions):
                code, description, price = (position for position in positions if position is not None)
                optional = tuple(_find_columns(header, OPTIONAL_COLUMNS))
                return cls(path, encoding, delimiter, (code, description, price), len(header), optional)
        raise UnusableFileError(_missing_columns(path, first))

    def require(self, names: Collection[str]) -> None:
        """Raises UnusableFileError unless the file has all of these optional columns."""
        places = dict(zip(OPTIONAL_COLUMNS, self.optional, strict=True))
        missing = [name for name in names if places[name] is None]
        if missing:
            raise UnusableFileError(
                f"{self.path} has no column {' or '.join(missing)}; sales need {', '.join(names)}"
            )

    def lines(self) -> Iterator[Line]:
        """Each line after the header, in order; lines without any field are left out.

        Raises UnusableFileError when a quote that is opened and never closed swallows the rest.
        """
        reader = csv.reader(_text_lines(self.path, self.encoding), delimiter=self.delimiter)
        try:
            next(reader)
            for row in reader:
                if row:
                    yield self._line(reader.line_num, row)
        except csv.Error as exc:
            raise UnusableFileError(
                f"{self.path}, line {reader.line_num}: {exc}; look for a quote that is opened and not closed"
            ) from exc
        except (OSError, UnicodeError) as exc:
            raise UnusableFileError(f"{self.path} cannot be read to its end: {exc}") from exc

    def _line(self, number: int, row: Sequence[str]) -> Line:
        if len(row) != self.width:
            return Line(number, malformed=True)
        code, description, price = (row[position] for position in self.columns)
        invoice, quantity, day, customer = (
            "" if position is None else row[position] for position in self.optional
        )
        return Line(
            number, code, description, price, invoice=invoice, quantity=quantity, invoice_date=day, customer=customer
        )  # fmt: skip


def _check_kind(path: Path) -> None:
    start = _read_start(path)
    if not start.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UnusableFileError(f"{path} is empty")
    for signature, message in _FOREIGN_FORMATS:
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(signature):
            raise UnusableFileError(f"{path} {message}")


def _read_start(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        with _regular(path, mode).open("rb") as file:
            return file.read(4096)
    except FileNotFoundError as exc:
        raise UnusableFileError(f"{path} does not exist; check the path") from exc
    except OSError as exc:
        raise UnusableFileError(f"{path} cannot be read: {exc.strerror}") from exc


def _regular(path: Path, mode: int) -> Path:
    if stat.S_ISDIR(mode):
        raise UnusableFileError(f"{path} is a directory; name the CSV file in it")
    if not stat.S_ISREG(mode):
        raise UnusableFileError(f"{path} is not a regular file; save the data to a file first")
    return path


def _detect_encoding(path: Path) -> str:
    """UTF-8 unless the bytes say otherwise; every byte is a letter in ISO Latin-1, so that one always fits."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    return next((name for name in ("utf-8", "cp1252") if _decodes(path, name)), "latin-1")


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _text_lines(path: Path, encoding: str) -> Iterator[str]:
    """Lines with their ends; one that is too long comes in pieces, so that memory stays bounded."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            while line := file.readline(LONGEST_LINE_CHARACTERS):
                yield line
    except UnicodeError as exc:
        raise UnusableFileError(f"{path} is not valid {encoding.upper()}: {exc}; save it as UTF-8") from exc


def _find_columns(header: Sequence[str], columns: Mapping[str, Sequence[str]]) -> list[int | None]:
    names = [name.strip().casefold().replace(" ", "").replace("_", "") for name in header]
    return [
        next((names.index(alias) for alias in aliases if alias in names), None)
        for aliases in columns.values()
    ]


def _missing_columns(path: Path, first_line: str) -> str:
    delimiter = max(DELIMITERS, key=first_line.count)
    header = next(csv.reader([first_line], delimiter=delimiter), [])
    positions = _find_columns(header, COLUMNS)
    missing = [name for name, position in zip(COLUMNS, positions, strict=True) if position is None]
    shown = first_line.strip()[:80]
    return (
        f"{path} has no column {' or '.join(missing)} in its first line ({shown!r}); "
        f"the first line must name the columns {', '.join(COLUMNS)}"
    )
