"""The sections on accuracy under attack: summary, suites, sweeps, pictures, checks."""

import base64

from keras_mpdsgr import evaluation
from keras_mpdsgr.pages.charts import Line, chart, interval_bar
from keras_mpdsgr.pages.markup import element, join
from keras_mpdsgr.pages.parts import (
    badge,
    figure,
    figure_name,
    label,
    mark,
    note,
    percent,
    radius,
    row,
    scroll_box,
    section,
    series,
    several,
    table,
)
from keras_mpdsgr.pages.results import CLEAN, WORST, WORST_L2

_NO_STRONG = "no strong attack was run"
_STATUS = {"pass": "good", "warn": "warn", "fail": "bad"}
_PNG = b"\x89PNG\r\n\x1a\n"
_TOTALS = {WORST: "total", WORST_L2: "total"}
_NORMS = {
    "linf": "L-infinity, within eps",
    "l2": "L2",
    "noise": "noise, no attack",
}


def summary(runs):
    """Clean accuracy and worst case of every report of every run, first thing on the page."""
    rows = [_summary_row(run, name, run.results[name]) for run in runs for name in run.results]
    without = [label(run) for run in runs if not run.results]
    parts = []
    if rows:
        head = ("run, report", "worst case", "n", "strongest attack", "clean", "eps")
        parts.append(
            table("Accuracy and its 95 % interval", head, element("tbody", *rows), kind="summary")
        )
        parts.append(
            note(
                "The worst case is the share of images that are right when clean and under every "
                "L-infinity attack of the report, counted image by image. Intervals speak of the "
                "images drawn, not of training's luck nor of attacks that were not tried."
            )
        )
    if without:
        parts.append(note("No report yet: ", *without))
    return section("summary", "Summary", *parts)


def _summary_row(run, name, result):
    worst = _share(result, WORST, series(run)) if WORST in result.shares else "no attack"
    return row(
        join(label(run), element("div", name, class_="small")),
        worst,
        result.n,
        _strongest(result),
        _share(result, CLEAN, series(run)),
        radius(result.eps),
    )


def _strongest(result):
    name = result.strongest()
    if name is None:
        return "none"
    told = [f"{figure_name(name)}, {percent(result.shares[name])}"]
    if result.cumulative:
        told.append(note("with those before it", kind="small"))
    if result.only_weak:
        told.append(element("div", mark(_NO_STRONG, "bad")))
    return join(*told)


def suites(runs):
    """Each report's table, runs side by side."""
    names = list(dict.fromkeys(name for run in runs for name in run.results))
    parts = [_suite(name, [run for run in runs if name in run.results]) for name in names]
    if not parts:
        return None
    return section("attacks", "Attack by attack", *parts)


def _suite(name, runs):
    results = {run.number: run.results[name] for run in runs}
    head = ["attack", *(_result_head(run, results[run.number]) for run in runs)]
    bodies = [_group(None, [CLEAN], runs, results)]
    norms = sorted({norm for result in results.values() for norm in result.norms.values()})
    for norm, words in (_NORMS | {norm: norm for norm in norms if norm not in _NORMS}).items():
        attacks = dict.fromkeys(a for result in results.values() for a in result.of_norm(norm))
        worst = {"linf": [WORST], "l2": [WORST_L2]}.get(norm, [])
        if attacks:
            bodies.append(_group(words, [*attacks, *worst], runs, results))
    parts = [
        element("h3", name),
        table(f"Accuracy and its 95 % interval, report {name}", head, *bodies, kind="attacks"),
    ]
    if any(result.cumulative for result in results.values()):
        parts.append(
            note(
                "Images that are broken already were spared the later attacks of the same threat "
                "model: each figure holds for its attack and those above it. The strongest is the "
                "first after which the least is left."
            )
        )
    return element("div", *parts, _attack_details(results.values()))


def _result_head(run, result):
    told = [badge(run), f" {several(result.n, 'image')}, eps {radius(result.eps)}"]
    if result.only_weak:
        told.append(element("div", mark(_NO_STRONG, "bad")))
    return join(*told)


def _group(words, names, runs, results):
    rows = []
    if words:
        head = element("th", words, scope="rowgroup", colspan=1 + len(runs))
        rows.append(element("tr", head, class_="group"))
    for name in names:
        cells = [_cell(results[run.number], name, series(run)) for run in runs]
        rows.append(row(figure_name(name), *cells, kind=_TOTALS.get(name)))
    return element("tbody", *rows)


def _cell(result, name, color):
    if name not in result.shares:
        return "not run"
    strongest = name in (result.strongest("linf"), result.strongest("l2"))
    return _share(result, name, color, "strongest" if strongest else None)


def _share(result, name, color, remark=None):
    low, high = result.intervals[name]
    value = result.shares[name]
    return join(
        element("strong", percent(value), class_="figure"),
        element("span", f" {percent(low)} to {percent(high)}", class_="range"),
        join(" ", mark(remark, "remark")) if remark else None,
        interval_bar(value, low, high, color),
    )


def _attack_details(results):
    told = dict.fromkeys(
        (name, words) for result in results for name, words in result.settings.items() if words
    )
    if not told:
        return None
    items = [
        join(element("dt", figure_name(name)), element("dd", element("code", words)))
        for name, words in told
    ]
    return element("details", element("summary", "The attacks in full"), element("dl", *items))


def sweeps(runs):
    """Accuracy against an attack's strength, runs in one chart."""
    names = list(dict.fromkeys(name for run in runs for name in run.sweeps))
    charts = [_sweep(name, [run for run in runs if name in run.sweeps]) for name in names]
    if not charts:
        return None
    return section("sweeps", "Sweeps", element("div", *charts, class_="charts"))


def _sweep(name, runs):
    lines = []
    for run in runs:
        sweep = run.sweeps[name]
        shares = [evaluation.wilson(count, sweep.total) for count in sweep.counts]
        scale = 255 if sweep.name == "eps" else 1
        lines.append(
            Line(
                [scale * value for value in sweep.values],
                [share.value for share in shares],
                series(run),
                run.letter,
                low=[share.low for share in shares],
                high=[share.high for share in shares],
            )
        )
    varied = runs[0].sweeps[name].name
    totals = sorted({run.sweeps[name].total for run in runs})
    images = " or ".join(several(total, "image") for total in totals)
    attack = figure_name(name.removeprefix("sweep-").removesuffix(f"-{varied}"))
    caption = f"{attack} over {varied}: accuracy, {images}"
    unit = "eps, 1/255" if varied == "eps" else varied
    told = note("One attack, not a worst case.", kind="small")
    return figure(chart(caption, lines, unit, y_limits=(0, 1)), join(caption, told))


def pictures(runs):
    """Images that an attack has broken."""
    shown = [_picture(run, name, result) for run in runs for name, result in run.results.items()]
    shown = [picture for picture in shown if picture is not None]
    return section("images", "Adversarial images", *shown) if shown else None


def _picture(run, name, result):
    try:
        content = result.picture_path.read_bytes()
    except OSError:
        return None
    if not content.startswith(_PNG):
        return None
    image = element(
        "img",
        src=f"data:image/png;base64,{base64.b64encode(content).decode()}",
        alt=f"Images that the attacks of report {name} have broken on run {run.name}: clean, "
        "attacked, and their difference magnified",
        class_="photo",
    )
    caption = join(label(run), f", report {name}: clean, attacked, difference magnified")
    return figure(scroll_box(f"Images of run {run.letter}, report {name}", image), caption)


def checks(runs):
    """The gradient-obfuscation checks and their verdicts."""
    parts = []
    for run in runs:
        for name, result in run.results.items():
            if result.checks:
                parts.append(_checks(run, name, result))
    unchecked = [label(run) for run in runs if not any(r.checks for r in run.results.values())]
    if unchecked:
        parts.append(
            note("Not checked, so that its figures may rest on hidden gradients: ", *unchecked)
        )
    return section("checks", "Are gradients hidden?", *parts)


def _checks(run, name, result):
    rows = [
        row(check.replace("_", " "), mark(status, _STATUS.get(status, "quiet")), says)
        for check, (status, says) in result.checks.items()
    ]
    caption = f"Checks of run {run.letter}, report {name}"
    return element(
        "div",
        element("h3", label(run), f", {name}"),
        note(element("strong", "Verdict: "), result.verdict, kind="verdict"),
        table(caption, ("check", "result", "what was found"), element("tbody", *rows)),
    )
