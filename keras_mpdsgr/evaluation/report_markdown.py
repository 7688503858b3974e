"""The Markdown form of a report, with the notes that its table needs."""

from keras_mpdsgr.evaluation.checks import explain


def to_markdown(report):
    """A `Report` as a table, with its notes and checks below."""
    on_grid = report.shares(on_grid=True)
    columns = [f"{report.n} images", "accuracy", "95 % interval"]
    columns += [f"on {report.config.get('grid')} bits"] if on_grid else []
    columns += ["newly broken", "seconds", "gradients an image"]
    added = report.added()
    lines = [_row(columns), _row(["---"] * len(columns))]
    for name, share in report.shares().items():
        record = report.records.get(name)
        cost = ["", "", ""]
        if record is not None:
            calls = record.gradient_calls / report.n
            cost = [str(added.get(name, "")), f"{record.seconds:.1f}", f"{calls:.1f}"]
        grid = [f"{on_grid[name].value:.2%}"] if on_grid else []
        interval = f"{share.low:.2%} .. {share.high:.2%}"
        lines.append(_row([name, f"{share.value:.2%}", interval, *grid, *cost]))
    lines += [f"\n{note}" for note in notes(report)]
    return "\n".join([*lines, *checks_to_markdown(report)]) + "\n"


def checks_to_markdown(report):
    """Verdict and obfuscation checks of a report as lines; none where it has no checks."""
    if not report.checks:
        return []
    header = ["check", "result", "what was found, what it means, what to do next"]
    lines = ["", f"Verdict: {report.verdict}", "", _row(header), _row(["---"] * len(header))]
    for one in explain(report.checks):
        lines.append(_row([one.name, one.status, " ".join(filter(None, one[2:]))]))
    return lines


def _row(cells):
    return f"| {' | '.join(cells)} |"


def notes(report):
    """Notes that belong to a report's table, a list of sentences."""
    found = []
    if report.only_class is not None:
        found.append(
            f"The model answers class {report.only_class} whatever the image: no accuracy here "
            "says anything of robustness."
        )
    if report.clean_right is not None:
        found.append(_of_random_model(report))
    if report.config.get("images_on_grid") is False:
        found.append(
            f"The clean images did not lie on the grid of {report.config.get('grid')} bits: for "
            "the figures on it they were rounded, and the ball is around them so."
        )
    unbounded = [n for n in report.of_norm("l2") + report.of_norm("linf") if n in _free(report)]
    if unbounded:
        found.append(f"Without a bound, and so in no worst case: {', '.join(unbounded)}.")
    found += [f"{name} is left out: {reason}" for name, reason in report.left_out.items()]
    found += [f"{name} is adapted: {change}" for name, change in report.adapted.items()]
    failed = [name.replace("_", " ") for name, held in report.self_check.items() if held is False]
    if failed:
        found.append(f"The evaluation failed a check of itself: {', '.join(failed)}.")
    return found


def _of_random_model(report):
    clean = report.spread("clean")
    spreads = {name: report.spread(name) for name in report.records}
    found = {"clean": clean, **spreads}
    told = ", ".join(
        f"{name} {one.mean:.1%} +- {one.deviation:.1%} ({one.undecided:.1%} undecided)"
        for name, one in found.items()
        if one is not None
    )
    return (
        f"The model is random: an image counts as misclassified if most of {report.votes} forward "
        f"passes err, drawn apart from what attacks saw. Accuracy of one pass, mean +- deviation, "
        f"and images on which passes disagree: {told}."
    )


def _free(report):
    return {name for name, record in report.records.items() if not record.bounded}
