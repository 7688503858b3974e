"""Tables keep each number whole: on a terminal that is too narrow, columns are left out."""

import io
import re

import hypothesis
from hypothesis import strategies
from rich.console import Console

from keras_mpdsgr.experiments.columns import Column, print_table

COLUMNS = [
    Column("attack", number=False), Column("accuracy"), Column("95 % interval", rank=2),
    Column("images", rank=3),
]  # fmt: skip
ROWS = [("worst case of all", "12.34%", "10.11% .. 14.87%", 1000), ("pgd", "9.00%", "", 1000)]


def printed(width, terminal=True, columns=COLUMNS, rows=ROWS, **options):
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, markup=False
    )
    print_table(console, "robust accuracy", columns, rows, **options)
    return console.file.getvalue()


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines]


def test_a_wide_terminal_and_a_file_get_all_columns():
    for text in (printed(100), printed(20, terminal=False)):
        head, first, *_ = cells(text)
        assert head == ["attack", "accuracy", "95 % interval", "images"]
        assert first[1:] == ["12.34%", "10.11% .. 14.87%", "1000"]


def test_a_narrow_terminal_gets_the_columns_that_matter_most_and_is_told_of_the_others():
    text = printed(34, whole="a/report.md")
    assert cells(text)[0] == ["attack", "accuracy"]
    said = "Too narrow for: 95 % interval, images. The whole table: a/report.md"
    assert said in text.splitlines()
    assert "Too narrow" not in printed(100)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    width=strategies.integers(30, 120),
    ranks=strategies.lists(strategies.integers(0, 3), min_size=1, max_size=8),
    number=strategies.floats(0, 1e12),
)
def test_a_number_is_whole_or_its_column_is_not_there(width, ranks, number):
    columns = [Column("layer", number=False)] + [
        Column(f"c{i}", rank=r) for i, r in enumerate(ranks)
    ]
    text = f"{number:,.3f}"
    shown = printed(width, columns=columns, rows=[("conv", *[text] * len(ranks))])
    (head, row) = cells(shown)
    assert row[1:] == [text] * (len(head) - 1)
    table = [line for line in shown.splitlines() if line.startswith(("│", "┃", "└"))]
    assert max(map(len, table)) <= width
