"""Comparisons with other libraries' attacks: their files, their tables in docs/evaluation.md."""

import json

import numpy as np
import pytest

from benchmarks import peer_tables
from trainers import marked

OWN = np.array([True, True, False, False, False, True, False, False])
REFERENCE = np.array([True, True, True, True, True, False, False, False])


def test_the_page_holds_what_its_files_tell():
    page = peer_tables.PAGE.read_text()
    found = peer_tables.tables()
    assert found.keys() == peer_tables.TABLES.keys()
    assert marked.filled(page, found) == page
    for name, titles in peer_tables.TABLES.items():
        told = json.loads((peer_tables.FOLDER / f"{name}.json").read_text())
        assert tuple(told["attacks"]) == titles


def test_a_row_counts_images_and_pairs():
    one = peer_tables.compared(OWN, REFERENCE, (1.0, 2.6), same=0.25)
    told = {"settings": {"images": "0-7", "seed": 0}, "attacks": {"PGD": one}}
    said, _, *rows = peer_tables.table(told).splitlines()
    assert said == "Measured with images 0-7, seed 0."
    # McNemar's exact test on 1 against 3: 2 (1 + 4) / 16.
    assert rows[-1] == "| PGD | 37.5% | 62.5% | 1 | 3 | 0.62 | 25% | 1 | 3 |"


def test_distances_stand_beside_the_shares_where_there_is_no_ball():
    one = peer_tables.compared(OWN, REFERENCE, (1.0, 2.0), distances=(0.5, 0.25))
    row = peer_tables.table({"settings": {}, "attacks": {"CW": one}}).splitlines()[-1]
    assert row.startswith("| CW | 37.5%, distance 0.5000 | 62.5%, distance 0.2500 |")


def test_a_file_holds_all_of_one_run_or_is_not_written(tmp_path):
    page, folder = tmp_path / "page.md", tmp_path / "peers"
    page.write_text("<!-- table: public-autoattack -->\nold\n<!-- end -->\n")
    one = peer_tables.compared(OWN, REFERENCE, (1.0, 2.0))
    attacks = dict.fromkeys(reversed(peer_tables.TABLES["public-autoattack"]), one)
    first, *rest = attacks
    part = {name: attacks[name] for name in rest}
    with pytest.raises(ValueError, match=f"not written without {first}"):
        peer_tables.record("public-autoattack", {}, part, page, folder)
    assert not folder.exists() and "old" in page.read_text()
    peer_tables.record("public-autoattack", {"seed": 0}, attacks, page, folder)
    expected = peer_tables.tables(folder)["public-autoattack"]
    assert marked.parts(page.read_text()) == {"public-autoattack": expected}
    shown = [line.split(" | ")[0].strip("| ") for line in expected.splitlines()[4:]]
    assert tuple(shown) == peer_tables.TABLES["public-autoattack"]
