"""Tables of docs/performance.md, and the powers in that of scaling."""

import json

import pytest

from benchmarks import page, scaling
from benchmarks.contenders.case import Case
from trainers import marked

BASE = Case()
# Seconds and megabytes that follow a power of what grows.
TIMES = {"ours": lambda case: 0.01 * case.timesteps * case.width**2 * case.batch**0.5}
WINDOWS = {"ours": lambda t: 50.0 * t, "ours_recompute": lambda t: 20.0 * t**0.5}


def result():
    cases = []
    for axis, values in {"timesteps": (1, 2, 4), "width": (0.1, 0.4), "batch": (8, 16)}.items():
        for value in values:
            case = Case(**{**BASE.to_dict(), axis: value})
            seconds = {name: [time(case)] * 3 for name, time in TIMES.items()}
            cases.append(
                {"case": case.to_dict(), "title": case.title, "axis": axis,
                 "seconds": {"train_step": seconds}}
            )  # fmt: skip
            if axis == "timesteps":
                cases[-1]["megabytes"] = {
                    name: {"window": window(value)} for name, window in WINDOWS.items()
                }
    return {"cases": cases}


def test_what_grows_by_a_power_is_fitted_by_that_power():
    found = scaling.exponents(result())
    expected = {"timesteps": 1.0, "width": 2.0, "batch": 0.5}
    for axis, power in expected.items():
        assert found[axis]["ours"] == pytest.approx(power, abs=1e-9)
    assert found["memory"] == pytest.approx({"ours": 1.0, "ours_recompute": 0.5}, abs=1e-9)


def test_memory_that_is_not_above_zero_has_no_power_and_ends_no_benchmark():
    """On a GPU, where the process's own memory is noise."""
    measured = result()
    measured["cases"][0]["megabytes"]["ours"]["window"] = -3.0
    measured["exponents"] = scaling.exponents(measured)
    assert measured["exponents"]["memory"]["ours"] is None
    assert "| keras_mpdsgr | -3 | 100 | 200 | - |" in scaling.tables(measured)


def test_the_page_holds_what_its_files_tell():
    text = page._PAGE.read_text()
    assert marked.filled(text, page.tables(page._PAGE.with_suffix(""))) == text
    assert "\n|" not in marked.outside(text).partition("## How it is measured")[2]
    assert marked.parts(text).keys() == page._TABLES.keys()


def test_a_table_is_filled_from_its_file_and_others_stay(tmp_path):
    measured = result()
    measured["exponents"] = scaling.exponents(measured)
    (tmp_path / "scaling.json").write_text(json.dumps(measured))
    text = (
        "before\n<!-- table: scaling -->\nold\n<!-- end -->\nbetween\n"
        "<!-- table: attack -->\nkept\n<!-- end -->\nafter\n"
    )
    found = marked.filled(text, page.tables(tmp_path))
    assert "old" not in found
    assert "| keras_mpdsgr | 1.00 | 2.00 | 0.50 |" in found
    assert "| MB of the window | T = 1 | T = 2 | T = 4 | power of T |" in found
    assert "| keras_mpdsgr, recompute | 20 | 28 | 40 | 0.50 |" in found
    assert found.endswith("between\n<!-- table: attack -->\nkept\n<!-- end -->\nafter\n")
    (tmp_path / "scaling.json").unlink()
    assert marked.filled(text, page.tables(tmp_path)) == text


def test_marks_that_a_page_lacks_are_named():
    with pytest.raises(ValueError, match="no marks <!-- table: scaling -->"):
        marked.filled("<!-- table: attack -->\nkept\n<!-- end -->\n", {"scaling": "| a |"})
