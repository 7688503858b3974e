"""The table of a study as Markdown, from the JSON files of its rows."""

import json
import pathlib

from keras_mpdsgr.evaluation.statistics import wilson
from keras_mpdsgr.files import replacing
from trainers.study.rows import ROWS

BEGIN, END = "<!-- table: robust-training -->", "<!-- end -->"
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
    written = page.read_text() if page.is_file() else ""
    if BEGIN in written:
        before, _, rest = written.partition(BEGIN)
        text, path = f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", page
    else:
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
        lines.append("")
    return "\n".join(lines)


def _cells(row, told, suites):
    title = f"{row.title}, seed {row.seed}" if row.step == "final" else row.title
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
    return [*cells, f"{model['training_seconds']['cpu']:,.0f}"]


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _share(right, n):
    share = wilson(right, n)
    return f"{share.value:.1%} ({share.low:.1%}-{share.high:.1%})"
