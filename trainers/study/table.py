"""The table of a study as Markdown, from the JSON files of its rows."""

import json
import pathlib

from keras_mpdsgr.evaluation.statistics import wilson
from keras_mpdsgr.files import replacing
from trainers.study.rows import ROWS

BEGIN, END = "<!-- table: robust-training -->", "<!-- end -->"
_HEADS = {
    "screen": "| trained | epoch | clean | PGD-7 | SA-PGD | spikes an image | nJ an image "
    "| CPU s |",
    "final": "| trained | epoch | clean | PGD-7 | strongest | AutoAttack | spikes an image "
    "| nJ an image | CPU s |",
}


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
    for step, head in _HEADS.items():
        own = [row for row in rows if row.step == step and row.name in found]
        if not own:
            continue
        told = next((found[row.name] for row in own if "error" not in found[row.name]), None)
        about = f": {told['judged_on']}, eps 8/255" if told else ""
        lines += [
            f"### {step.capitalize()}{about}",
            "",
            head,
            "| --- " * head.count(" | ") + "| --- |",
        ]
        lines += [_line(row, found[row.name], step) for row in own]
        lines.append("")
    return "\n".join(lines)


def _line(row, told, step):
    if "error" in told:
        return f"| {row.title} | failed: {told['error']} |"
    model, attacked = told["model"], told["attacked"]
    cells = [f"{row.title}, seed {row.seed}" if step == "final" else row.title]
    cells += [
        f"{model['epoch']} of {model['epochs']}",
        _share(told["clean"]["right"], told["clean"]["n"]),
    ]
    if step == "screen":
        screen = attacked["screen"]
        cells += [
            _share(screen["right"]["pgd"], screen["n"]),
            _share(screen["worst_case_right"], screen["n"]),
        ]
    else:
        pgd = attacked["pgd"]
        cells.append(_share(pgd["right"]["pgd"], pgd["n"]))
        cells += [
            _share(one["worst_case_right"], one["n"])
            for name, one in attacked.items()
            if name != "pgd"
        ]
    cells += [f"{told['spikes']:,.0f}", f"{told['nanojoules']:,.0f}"]
    cells.append(f"{model['training_seconds']['cpu']:,.0f}")
    return f"| {' | '.join(cells)} |"


def _share(right, n):
    share = wilson(right, n)
    return f"{share.value:.1%} ({share.low:.1%}-{share.high:.1%})"
