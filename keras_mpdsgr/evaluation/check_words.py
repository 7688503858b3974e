"""What the gradient-obfuscation checks found, what that means and what to do next, in words."""

_JUDGE = "Judge the model by the suite `strongest`"
# What a check that did not pass means, and what to do next, by the check's name.
_ADVICE = {
    "answers_more_than_one_class": (
        "Such a model cannot be attacked and is of no use; no accuracy here means anything.",
        "Look at its training: accuracy, learning rate, firing rates.",
    ),
    "iterative_beats_single_step": (
        "The gradient misleads many small steps, as a hidden one does: FGSM and PGD overstate "
        "the robustness.",
        f"{_JUDGE}, which goes along ASSG and searches without gradients.",
    ),
    "large_eps_reaches_zero": (
        "In such a ball every image can become the same grey one. What survives there is what the "
        "attack does not find, and at a smaller eps it misses more.",
        f"{_JUDGE}; try more steps, restarts and another `gradient`.",
    ),
    "more_steps_never_help": (
        "The attack does not converge, or its gradient says little of the loss.",
        f"Try more steps, a smaller `step_size` and restarts. {_JUDGE}.",
    ),
    "white_box_beats_transfer": (
        "Images made on another model break more than the model's own gradient does: it is hidden.",
        "Keep the substitute, so that the worst case counts transfer, and judge by the suite "
        "`strongest`.",
    ),
    "gradient_beats_search": (
        "Search without gradients finds what the gradient does not: it is hidden, and every attack "
        "along it overstates the robustness.",
        f"{_JUDGE}, which searches too, or give Square more steps.",
    ),
    "gradients_are_not_zero": (
        "On these images an attack along the gradient has no direction and does nothing.",
        'Attack along a wider surrogate, `gradient="assg"`, or without gradients, by Square.',
    ),
    "training_surrogate_is_enough": (
        "Attacks along the model's own surrogate (BPTT) alone overstate the robustness by that "
        "much.",
        f"{_JUDGE}, which goes along ASSG.",
    ),
    "loss_rises_along_gradient": (
        "The gradient points hardly better than chance: attacks along it overstate the robustness.",
        f"{_JUDGE}, which goes along ASSG and searches without gradients.",
    ),
    "random_models_need_eot": (
        "Single draws mislead an attack: without averaging it overstates the robustness.",
        "Attack with `eot` of 10 or more. The program does so by itself.",
    ),
}
_UNREMARKABLE = ("pass", "not run")


def advice(name, status):
    """What it means that a check did not pass, and what to do next.

    Args:
        name: The check's name.
        status: As of `Check`.

    Returns:
        Two strings, or None where it passed, did not run, or is not known.
    """
    return None if status in _UNREMARKABLE else _ADVICE.get(name)


def points(difference):
    """A difference of two shares in percentage points, without its sign.

    >>> points(-0.16), points(0.01), points(1 / 300)
    ('16 points', '1 point', '0.333 points')
    """
    number = f"{100 * abs(difference):.3g}"
    return f"{number} {'point' if number == '1' else 'points'}"


def compared(attack, left, other, other_left, expected, doubt="It should leave no more."):
    """What one attack leaves beside what another does, one sentence or two.

    Args:
        attack, other: What they are called.
        left, other_left: Accuracy under each.
        expected: What is said where `attack` leaves fewer, as it should.
        doubt: What is said where it leaves more.

    >>> compared("PGD", 0.3, "FGSM", 0.46, "as it should")
    'PGD leaves 16 points fewer than FGSM, as it should.'
    """
    if left == other_left:
        return f"{attack} leaves as many as {other}, {left:.1%}."
    if left < other_left:
        return f"{attack} leaves {points(left - other_left)} fewer than {other}, {expected}."
    return f"{attack} leaves {points(left - other_left)} more than {other}. {doubt}"
