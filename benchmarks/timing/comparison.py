"""Times one method of several contenders over several cases, and says the ratios."""

import statistics

from benchmarks import contenders, machine
from benchmarks.contenders.case import Case
from benchmarks.timing import measuring, program, reporting, settings, workers


def with_bfloat16(names, peers, more, instructions):
    """Names of contenders and of those of other libraries, with those that compute in bfloat16.

    Args:
        names, peers: As of `compare`.
        more: Contenders of this library and the plain network in bfloat16.
        instructions: As of `program.bfloat16`; None adds none.
    """
    if instructions is None:
        return names, peers
    more_peers = [f"{name}_bf16" for name in peers if f"{name}_bf16" in contenders.NAMES]
    return [*names, *more], [*peers, *more_peers]


def bfloat16_pairs(what):
    """The ratios of bfloat16, by name: the one contender and the other.

    Args:
        what: `"train"` or `"pgd"`.
    """
    return {
        f"bf16_{what}_vs_float32": ("ours_bf16", "ours"),
        f"bf16_{what}_vs_bf16_ann": ("ours_bf16", "ann_bf16"),
        f"bf16_{what}_vs_spikingjelly": ("ours_bf16", "spikingjelly"),
        f"bf16_{what}_vs_spikingjelly_bf16": ("ours_bf16", "spikingjelly_bf16"),
    }


def median_ratios(result, method, pairs):
    """As `median_ratio`, of each pair by its name, but for those of which one is missing."""
    found = {name: median_ratio(result, method, *pair) for name, pair in pairs.items()}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


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


def case_of(entry):
    """The `Case` of one of a result's cases."""
    return Case(**entry["case"])


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
                f"is within {found['near']:g} of the threshold, {found['far_spikes']} elsewhere"
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
