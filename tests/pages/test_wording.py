"""How the page writes names and numbers."""

import pytest

from keras_mpdsgr.experiments import tables
from keras_mpdsgr.pages import wording


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fgsm", "FGSM"),
        ("pgd50", "PGD-50"),
        ("sapgd", "SA-PGD"),
        ("sapgd_dlr", "SA-PGD DLR"),
        ("pgd_bptr", "PGD BPTR"),
        ("cw_l2", "CW L2"),
        ("apgd_t", "APGD-T"),
        ("fab_t_assg", "FAB-T ASSG"),
        ("apgd_ce_assg", "APGD CE ASSG"),
        ("square", "square"),
        ("worst_case", "worst case"),
        ("<b>", "<b>"),
    ],
)
def test_attacks_are_called_as_papers_call_them(name, words):
    assert wording.display_name(name) == words


def test_a_radius_is_a_fraction_of_255_and_a_count_has_its_noun():
    assert tables.radius(8 / 255) == "8/255"
    assert tables.radius(0.5 / 255) == "0.5/255"
    assert (wording.several(1, "image"), wording.several(2, "image")) == ("1 image", "2 images")
