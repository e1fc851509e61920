import re

from hypothesis import given
from hypothesis import strategies as st

from disentangle.text_tables import aligned, latex, markdown

cells = st.text("ab|&_±−–", min_size=1, max_size=6)
tables = st.lists(st.tuples(cells, cells, cells).map(list), min_size=2, max_size=6)


@given(tables)
def test_aligned_columns_end_at_the_same_place(table):
    header, rule, *body = aligned(table).splitlines()
    ends = [match.end() for match in re.finditer("─+", rule)]
    for line, row in zip([header, *body], table, strict=True):
        assert line.split() == row
        assert [match.end() for match in re.finditer(r"\S+", line)] == ends
    assert aligned(table, rule=False).splitlines() == [header, *body]


@given(tables)
def test_markdown_gives_every_cell_back(table):
    header, _, *body = markdown(table).splitlines()
    for line, row in zip([header, *body], table, strict=True):
        parts = re.split(r"(?<!\\)\|", line)[1:-1]
        assert [part[1:-1].replace(r"\|", "|") for part in parts] == row


def test_notes_stand_below_and_leave_no_gap_where_there_are_none():
    table = [["x"], ["1"]]
    assert markdown(table, notes=["seen"]).splitlines()[-2:] == ["", "- seen"]
    assert markdown(table).splitlines()[-1] == "| 1 |"
    assert latex(table, notes=["50 %"]).endswith("\\footnotesize\n50 \\%\\par}")
    assert latex(table).endswith(r"\end{tabular}")


def test_what_stands_first_in_a_line_of_latex_is_not_taken_for_the_end_of_the_line_before():
    text = latex([["x", "y"], ["[S]", "a|b"], ["*", "<c>"]], notes=["[1] one", "two"])
    assert "{}[S] & a\\textbar{}b" in text
    assert "{}* & \\textless{}c\\textgreater{}" in text
    assert "{}[1] one" in text
    for end, behind in zip(text.split("\\\\")[:-1], text.split("\\\\")[1:], strict=True):
        assert behind.lstrip()[:1] not in ("[", "*"), (end, behind)
