"""The tables of a study as Markdown, from the JSON files of its rows."""

import json
import pathlib

from keras_mpdsgr.evaluation.statistics import wilson
from keras_mpdsgr.files import replacing
from trainers import marked
from trainers.study.comparisons import compare, over_seeds
from trainers.study.rows import BESIDE, ROWS, SEEDED

TABLE = "robust-training"
_ATTACKS = {"screen": "PGD-7 and SA-PGD", "autoattack": "AutoAttack"}


def read(folder):
    """What is written of the rows that are done, by their names."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        told = json.loads(path.read_text())
        if "row" in told:
            found[told["row"]] = told
    return found


def write(folder):
    """Writes the table of the files in a folder, and returns where.

    That is FOLDER.md beside the folder, between the marks, where there is such a page; else
    table.md in the folder.
    """
    folder = pathlib.Path(folder)
    text = markdown(list(ROWS.values()), read(folder))
    page = folder.with_name(f"{folder.name}.md")
    if page.is_file() and TABLE in marked.parts(page.read_text()):
        marked.write(page, {TABLE: text})
        return page
    path = folder / "table.md"
    with replacing(path) as beside:
        beside.write_text(text)
    return path


def markdown(rows, found):
    """The tables of both steps.

    Args:
        rows: The `Row`s, in order.
        found: As `read` gives it.
    """
    lines = []
    for step in ("screen", "final"):
        own = [row for row in rows if row.step == step and row.name in found]
        told = next((found[row.name] for row in own if "error" not in found[row.name]), None)
        if told is None:
            continue
        suites = [name for name in told["attacked"] if name != "pgd"]
        head = ["trained", "epoch", "clean", "PGD-7", *(_ATTACKS.get(n, n) for n in suites)]
        head += ["spikes an image", "nJ an image", "CPU s"]
        lines += [f"### {step.capitalize()}: {told['judged_on']}, eps 8/255", ""]
        lines += [_row(head), _row(["---"] * len(head))]
        lines += [_row(_cells(row, found[row.name], suites)) for row in own]
        lines += ["", *_compared(own, found, suites[0])]
    return "\n".join(lines)


def _compared(rows, found, suite):
    """Each row beside the one that it is compared with."""
    done = {row.name: row for row in rows if "error" not in found[row.name]}
    lines = []
    for row in done.values():
        other = done.get(BESIDE.get(row.name))
        if other is None:
            continue
        one = compare(found[row.name], found[other.name], suite)
        cells = [_title(row), _title(other), f"{100 * one.clean:+.1f}", _points(one.survivors)]
        cost = _ratio(one.cost, 1)
        cost = cost if one.like_machines or one.cost is None else f"~{cost}"
        lines.append(_row([*cells, f"{float(one.p):.2g}", _ratio(one.spikes), cost]))
    if not lines:
        return []
    head = ["trained", "beside", "clean, points", "survivors, points", "McNemar's p"]
    head += ["spikes", "cost"]
    lines = [_row(head), _row(["---"] * len(head)), *lines, ""]
    for names in SEEDED:
        pairs = [(row, done.get(BESIDE[row.name])) for row in done.values() if _is_of(row, names)]
        if len(pairs) > 1 and None not in [other for _, other in pairs]:
            lines += [_over_seeds(pairs, found, suite), ""]
    return lines


def _is_of(row, names):
    one, other = names
    return row.name.partition("_seed")[0] == one and BESIDE[row.name].startswith(other)


def _over_seeds(pairs, found, suite):
    mean = over_seeds([(found[a.name], found[b.name]) for a, b in pairs], suite)
    said = (
        f"{pairs[0][0].title} beside {pairs[0][1].title}, mean of {mean.seeds} seeds: "
        f"{100 * mean.survivors.value:+.1f} points of survivors; 95 % interval over images "
        f"{_interval(mean.survivors)}, over seeds {_interval(mean)}"
    )
    return said + ("." if mean.spikes is None else f"; {mean.spikes:.2f} times the spikes.")


def _points(difference):
    return f"{100 * difference.value:+.1f} ({_interval(difference)})"


def _interval(ends):
    return f"{100 * ends.low:+.1f} to {100 * ends.high:+.1f}"


def _ratio(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f} x"


def _title(row):
    return f"{row.title}, seed {row.seed}" if row.step == "final" else row.title


def _cells(row, told, suites):
    title = _title(row)
    if "error" in told:
        return [title, f"failed: {told['error']}", *[""] * (5 + len(suites))]
    model, attacked = told["model"], told["attacked"]
    pgd = attacked.get("pgd") or attacked["screen"]
    cells = [title, f"{model['epoch']} of {model['epochs']}"]
    cells.append(_share(told["clean"]["right"], told["clean"]["n"]))
    cells.append(_share(pgd["right"]["pgd"], pgd["n"]))
    cells += [_share(attacked[n]["worst_case_right"], attacked[n]["n"]) for n in suites]
    cells.append("-" if told["spikes"] is None else f"{told['spikes']:,.0f}")
    cells.append(f"{told['nanojoules']:,.0f}")
    taken = model["training_seconds"]
    if taken is None:
        return [*cells, "-"]
    alone = " (one core)" if model["machine"].startswith("1 ") else ""
    return [*cells, f"{taken['cpu']:,.0f}{alone}"]


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _share(right, n):
    share = wilson(right, n)
    return f"{share.value:.1%} ({share.low:.1%}-{share.high:.1%})"
