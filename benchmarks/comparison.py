"""Times one method of several contenders over several cases, and says the ratios."""

import statistics

from benchmarks import machine, measuring, program, reporting, settings, workers


def compare(names, peers, cases, what, titles):
    """Measures all cases.

    Args:
        names: Contenders of this library and the plain network, `"ours"` among them.
        peers: Those of other libraries.
        cases: The `Case`s.
        what: Methods to time, as `["train_step"]`.
        titles: What each method is called in tables, by its name.

    Returns:
        A dictionary: `machine`, `settings` (of each peer and method, and what others took) and
        `cases`, each with the seconds of every contender, round by round.
    """
    result = {"machine": machine.describe(), "repeats": program.repeats(), "settings": {}}
    options = {name: {"jit": program.jit()} for name in names}
    result["jit"] = program.jit()
    for name in peers:
        program.say(f"looking for the settings that {name} is fastest with")
        options[name], tried = settings.fastest(name, cases[0], what[0], not program.quick())
        result["settings"][name] = {"chosen": options[name], "seconds": tried}
    result["cases"] = [_one_case([*names, *peers], case, what, titles, options) for case in cases]
    return result


def _one_case(names, case, what, titles, options):
    entry = {"case": case.to_dict(), "title": case.title, "seconds": {}, "first_call": {}}
    with workers.contest(names, case, options) as (running, found):
        entry["equality"] = found
        for method in what:
            with program.rounds(f"{titles[method]}, {case.title}", program.repeats()) as shown:
                entry["seconds"][method], entry["first_call"][method] = measuring.interleave(
                    running, method, program.repeats(), progress=shown
                )
    return entry


def median_ratio(result, method, above, below, factor=1.0):
    """Median over cases of the median ratio of two contenders' times; None if one is missing."""
    ratios = [
        measuring.ratio(entry["seconds"][method], above, below)["median"] / factor
        for entry in result["cases"]
        if {above, below} <= entry["seconds"][method].keys()
    ]
    return statistics.median(ratios) if ratios else None


def rows(result, method, below="ours"):
    """Table rows: each contender's milliseconds and its time over another's, case by case."""
    lines = []
    for entry in result["cases"]:
        seconds = entry["seconds"][method]
        for name in seconds:
            time = reporting.spread(measuring.summary(seconds[name]), factor=1e3)
            ratio = reporting.spread(measuring.ratio(seconds, name, below))
            lines.append((entry["title"], reporting.LABELS[name], time, ratio))
    return lines


def equality_lines(result):
    """What was compared before the clock ran, in words."""
    lines = []
    for entry in result["cases"]:
        for name, found in entry["equality"].items():
            lines.append(
                f"- {entry['title']}, {reporting.LABELS[name]}: {found['stages']} stages, input "
                f"currents within {found['largest_current_error']:.1e} of the largest, "
                f"{found['near_spikes']} of {found['spikes']:,} spikes differ where the potential "
                f"is within 1e-4 of the threshold, {found['far_spikes']} elsewhere"
            )
    return "\n".join(lines)


def draw(axes, result, method, title):
    """Bars of milliseconds, one group a case."""
    names = list(result["cases"][0]["seconds"][method])
    height = 0.8 / len(names)
    for number, name in enumerate(names):
        summaries = [measuring.summary(e["seconds"][method][name]) for e in result["cases"]]
        medians = [1e3 * s["median"] for s in summaries]
        errors = [
            [1e3 * (s["median"] - s["low"]) for s in summaries],
            [1e3 * (s["high"] - s["median"]) for s in summaries],
        ]
        places = [case + number * height for case in range(len(summaries))]
        axes.barh(places, medians, height, xerr=errors, label=reporting.LABELS[name])
    axes.set_yticks(
        [case + 0.4 - height / 2 for case in range(len(result["cases"]))],
        [entry["title"] for entry in result["cases"]],
    )
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds (median and quartiles)")
    axes.set_title(title)
    axes.legend(fontsize="small")
