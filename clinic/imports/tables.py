"""A table as it is sent, CSV or NDJSON, as numbered rows. A row that cannot be read is kept, with what is wrong."""

import csv
import io
import json

from clinic.errors import InvalidInput, TooLarge

MAX_BYTES = 20 * 1024**2
MAX_ROWS = 50_000
MAX_CELL = 10_000
DELIMITERS = ",;\t"


def read(data):
    """(line number, column → text, problem or None) for each row; raises InvalidInput where there is no table."""
    text = _text(data)
    rows = list(_ndjson(text) if text.lstrip().startswith("{") else _csv(text))
    if not rows:
        raise InvalidInput("no_rows", "The table has no rows.", "Send a header and at least one row.", place="file")
    if len(rows) > MAX_ROWS:
        raise TooLarge("too_many_rows", f"The table has more than {MAX_ROWS} rows.", "Split it.", place="file")
    return rows


def columns(rows):
    """The names of the columns, in the order in which they first come."""
    return list(dict.fromkeys(name for _, content, _ in rows for name in content))


def _text(data):
    if len(data) > MAX_BYTES:
        raise TooLarge("too_large", f"A table may have {MAX_BYTES // 1024**2} MiB.", "Split it.", place="file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput("not_utf8", f"Line {line} is not UTF-8.", "Save it as UTF-8.", place="file") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidInput("not_text", f"Line {line} holds a NUL.", "Send a text file.", place="file")
    return text


def _csv(text):
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    csv.field_size_limit(MAX_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        start = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row(start, header, cells)
            start = reader.line_num + 1
    except csv.Error as error:
        problem = f"Line {reader.line_num} is no CSV."
        raise InvalidInput("not_csv", problem, "Close its quotation marks.", place="file") from error


def _check_header(header):
    if not any(header) or not all(header):
        raise InvalidInput("no_header", "The first line must name every column.", "Name them.", place="line 1")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InvalidInput("column_twice", f"The column {twice[0]} is there twice.", "Keep one.", place="line 1")


def _row(number, header, cells):
    content = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
    if len(cells) != len(header):
        problem = f"It has {len(cells)} cells, the header has {len(header)}."
        return number, content, _problem("wrong_length", "", problem, "Quote cells that hold the delimiter.")
    return _measured(number, content)


def _measured(number, content):
    for name, cell in content.items():
        if len(cell) > MAX_CELL:
            problem = f"It is longer than {MAX_CELL} characters."
            return number, content | {name: cell[:MAX_CELL]}, _problem("too_long", name, problem, "Shorten it.")
    return number, content, None


def _ndjson(text):
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        flat = isinstance(said, dict) and not any(isinstance(value, (dict, list)) for value in said.values())
        if flat:
            yield _measured(number, {name: _as_text(value) for name, value in said.items()})
        else:
            problem = _problem("not_json", "", "This line is no JSON object of plain values.", "Correct the line.")
            yield number, {"line": line[:MAX_CELL]}, problem


def _as_text(value):
    return "" if value is None else value.strip() if isinstance(value, str) else json.dumps(value)


def _problem(code, place, problem, remedy):
    return {"code": code, "place": place, "problem": problem, "remedy": remedy}
