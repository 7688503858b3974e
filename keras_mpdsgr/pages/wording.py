"""Names, numbers and nouns as the page writes them: the filters of its templates."""

import re

_NAMES = {
    "worst_case": "worst case",
    "worst_case_l2": "worst case, L2",
    "apgd_t": "APGD-T",
    "fab_t": "FAB-T",
    "apgd_t_assg": "APGD-T ASSG",
    "fab_t_assg": "FAB-T ASSG",
}
_ABBREVIATION = re.compile(
    r"(sa(?=pgd))?(fgsm|apgd|pgd|bim|cw|fab|hart|assg|pdsg|bptr|dlr|ce|l2)(\d*)"
)


def display_name(name):
    """An attack's name, or that of another row of a report, as papers write it.

    >>> display_name("sapgd_dlr"), display_name("pgd50"), display_name("worst_case")
    ('SA-PGD DLR', 'PGD-50', 'worst case')
    """
    return _NAMES.get(name) or " ".join(map(_word, name.split("_")))


def _word(word):
    found = _ABBREVIATION.fullmatch(word)
    if not found:
        return word
    adaptive, letters, number = found.groups("")
    return f"{adaptive and 'SA-'}{letters.upper()}{number and '-' + number}"


def percent(share):
    """A share in per cent."""
    return f"{share:.1%}"


def several(count, noun):
    """A count and its noun."""
    return f"{count} {noun if count == 1 else noun + 's'}"
