"""The result of a gradient-obfuscation check, and several of them in one sentence."""

import dataclasses
import typing

from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.evaluation.check_words import advice

PASS, WARN, FAIL, NOT_RUN = "pass", "warn", "fail", "not run"
# The check without which the others mean nothing.
ANSWERS = "answers_more_than_one_class"


@dataclasses.dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        status: `"pass"`, `"warn"`, `"fail"` or `"not run"`.
        figures: What it was decided by, by name.
        says: What was found, in words.
    """

    status: str
    figures: dict
    says: str

    def __post_init__(self):
        check_choice("status", self.status, (PASS, WARN, FAIL, NOT_RUN))


def verdict(checks):
    """The checks in one sentence.

    Args:
        checks: A dictionary from name to `Check`.
    """
    answers = checks.get(ANSWERS)
    if answers is not None and answers.status == FAIL:
        return f"No verdict: {answers.says[0].lower()}{answers.says[1:]}"
    by_status = {status: [] for status in (FAIL, WARN, PASS, NOT_RUN)}
    for name, check in checks.items():
        by_status[check.status].append(name.replace("_", " "))
    if by_status[FAIL]:
        opening = "Do not trust accuracies of this model under weak attacks: failed "
        return opening + f"{', '.join(by_status[FAIL])}. Only the worst case counts."
    if by_status[WARN]:
        return f"No check failed, but look at: {', '.join(by_status[WARN])}."
    passed = len(by_status[PASS])
    return f"No sign of hidden gradients in {passed} check{'' if passed == 1 else 's'}."


def explain(checks):
    """Each check in words, as table, Markdown and page show it.

    Args:
        checks: A dictionary from name to `Check`.

    Returns:
        An `Explanation` each, in a list.
    """
    return [
        Explanation(
            name.replace("_", " "), one.status, one.says, *(advice(name, one.status) or ("", ""))
        )
        for name, one in checks.items()
    ]


class Explanation(typing.NamedTuple):
    """A check in words.

    Attributes:
        name: What was checked.
        status: As of `Check`.
        says: What was found.
        means: What that means; empty where it passed or did not run.
        next: What to do next; likewise.
    """

    name: str
    status: str
    says: str
    means: str
    next: str
