import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.data import DataError
from disentangle.data.text_files import csv_rows, decoded, read_text

cells = st.text(st.characters(blacklist_categories=["Cs", "Cc"])).map(str.strip).filter(lambda cell: "," not in cell)


@settings(deadline=None)
@given(
    st.lists(st.tuples(cells, cells), min_size=1),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_any_separator_with_or_without_quotes(rows, separator, quoting):
    written = io.StringIO()
    csv.writer(written, delimiter=separator, quoting=quoting).writerows([("id", "text"), *rows])
    said = [row for row in rows if any(row)]
    assert [tuple(row) for _, row in csv_rows(written.getvalue(), ["id"])] == [("id", "text"), *said]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ('"id","label"', '"a","2.5"'),
        (" id , label\t", "a, 2.5"),
        ('"id"; "label"', 'a; "2,5"'),
        ("id;label", "a;2,5"),
        ("id\tlabel", "a\t2.5"),
        ("\n\nid,label", "\na,2.5"),
        (" ,\nid,label", ",\na,2.5\n, "),
    ],
)
def test_headers_as_they_are_written(header, rows):
    assert [row for _, row in csv_rows(f"{header}\n{rows}\n", ["id", "label"])] == [["id", "label"], ["a", "2.5"]]


def test_a_comma_is_a_decimal_one_only_between_semicolons():
    assert list(csv_rows('id,label\na,"2,5"\n', ["id"])) == [(1, ["id", "label"]), (2, ["a", "2,5"])]
    assert list(csv_rows("id;text\na;well, 2,5 of\n", ["id"])) == [(1, ["id", "text"]), (2, ["a", "well, 2,5 of"])]


def test_blanks_in_front_of_cells_can_be_kept():
    assert list(csv_rows("word,end\n so,1\n", ["word"], keep_blanks=True))[1] == (2, [" so", "1"])
    assert list(csv_rows('word, "end"\n so, "1"\n', ["word"], keep_blanks=True))[1] == (2, ["so", "1"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_with_marks(tmp_path, encoding):
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    (tmp_path / "a.txt").write_bytes(f"{mark}so gut, süß\r\n我".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "so gut, süß\n我"


def test_other_encodings_are_refused():
    with pytest.raises(DataError, match=r"^a: expected UTF-8, got byte 0xfc at 1; save it as UTF-8$"):
        decoded("a", "süß".encode("latin-1"))
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(DataError, match=r"^a: expected UTF-8, got null bytes, as of UTF-16 without its mark"):
            decoded("a", "id,text\nä,我\n".encode(encoding))
