"""The sections on accuracy under attack: summary, attacks, checks, sweeps, pictures."""

import base64

from keras_mpdsgr import evaluation
from keras_mpdsgr.pages.charts import Curve, chart
from keras_mpdsgr.pages.wording import display_name, several

_PNG = b"\x89PNG\r\n\x1a\n"
_THREAT_MODELS = {"linf": "L-infinity, within eps", "l2": "L2", "noise": "noise, no attack"}
_WORST = {"linf": ["worst_case"], "l2": ["worst_case_l2"]}


def summary(runs):
    """Clean accuracy and worst case of every report of every run, first thing on the page."""
    without = [run for run in runs if not run.reports and not run.unread]
    return {"reported": any(run.reports for run in runs), "without": without}


def attacks(runs):
    """Each report's table, runs side by side; None without a report."""
    names = dict.fromkeys(name for run in runs for name in run.reports)
    suites = [_suite(name, [run for run in runs if name in run.reports]) for name in names]
    return {"suites": suites} if suites else None


def _suite(name, runs):
    reports = [run.reports[name] for run in runs]
    records = [item for report in reports for item in report.records.items()]
    groups = [{"title": None, "names": ["clean"]}]
    for norm in dict.fromkeys((*_THREAT_MODELS, *(record.norm for _, record in records))):
        found = dict.fromkeys(attack for attack, record in records if record.norm == norm)
        if found:
            title = _THREAT_MODELS.get(norm, norm)
            groups.append({"title": title, "names": [*found, *_WORST.get(norm, [])]})
    return {
        "name": name,
        "columns": [_column(run, report) for run, report in zip(runs, reports, strict=True)],
        "groups": groups,
        "cumulative": any(report.cumulative for report in reports),
        "attacks": dict.fromkeys((attack, record.settings) for attack, record in records),
    }


def _column(run, report):
    strongest = (report.strongest("linf"), report.strongest("l2"))
    shares, on_grid = report.shares(), report.shares(on_grid=True)
    return {
        "run": run, "report": report, "shares": shares, "on_grid": on_grid, "strongest": strongest,
    }  # fmt: skip


def checks(runs):
    """The gradient-obfuscation checks and their verdicts."""
    checked = [
        (run, name, report, evaluation.explain(report.checks))
        for run in runs
        for name, report in run.reports.items()
        if report.checks
    ]
    having = [run for run, *_ in checked]
    return {"checked": checked, "unchecked": [run for run in runs if run not in having]}


def sweeps(runs):
    """Accuracy against an attack's strength, runs in one chart; None without a sweep."""
    names = dict.fromkeys(name for run in runs for name in run.sweeps)
    charts = [_sweep(name, [run for run in runs if name in run.sweeps]) for name in names]
    return {"charts": charts} if charts else None


def _sweep(name, runs):
    curves = []
    for run in runs:
        sweep = run.sweeps[name]
        shares = [evaluation.wilson(count, sweep.total) for count in sweep.counts]
        scale = 255 if sweep.name == "eps" else 1
        curves.append(
            Curve(
                [scale * value for value in sweep.values],
                [share.value for share in shares],
                run.color,
                run.letter,
                low=[share.low for share in shares],
                high=[share.high for share in shares],
            )
        )
    varied = runs[0].sweeps[name].name
    totals = sorted({run.sweeps[name].total for run in runs})
    images = " or ".join(several(total, "image") for total in totals)
    attack = display_name(name.removeprefix("sweep-").removesuffix(f"-{varied}"))
    unit = "eps, 1/255" if varied == "eps" else varied
    return chart(f"{attack} over {varied}: accuracy, {images}", curves, unit, y_limits=(0, 1))


def pictures(runs):
    """Images that an attack has broken; None where no report has a picture of them."""
    found = [
        (run, name, base64.b64encode(content).decode())
        for run in runs
        for name in run.reports
        if (content := _picture(run.run.results / f"{name}-images.png")) is not None
    ]
    return {"pictures": found} if found else None


def _picture(path):
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if content.startswith(_PNG) else None
