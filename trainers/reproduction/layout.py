"""Tables in the paper's own form, as Markdown and as CSV."""

import csv
import dataclasses
import io
import os

from trainers.reproduction import attack_groups, paper

IMPROVEMENT = "Improvement"
_MISSING = "-"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell: its outcomes, one or a pair, and the paper's numbers for them.

    Attributes:
        outcomes: The `Outcome`s; empty where the paper's cell is.
        paper: The paper's numbers, where they may be shown and there are any.
        loss: Difference from the row's first cell, in points.
        paper_loss: The same of the paper's numbers.
        best: For each outcome, whether it is the best of its setting.
    """

    outcomes: tuple = ()
    paper: tuple = ()
    loss: float | None = None
    paper_loss: float | None = None
    best: tuple = ()


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the finished table."""

    labels: tuple
    section: str
    setting: str
    cells: dict
    computed: bool = False


def lines(table, store):
    """The finished table's lines, with those that are computed from others.

    Args:
        table: The `Table`.
        store: The `Store` that its numbers are read from.
    """
    found = [_line(table, row, store) for row in table.rows]
    if table.improvement:
        found = _with_improvements(table, found, store.scale.shows_paper)
    return _with_best(table, found)


def _line(table, row, store):
    cells = {}
    first = table.columns[0].key
    for column in table.columns:
        outcomes = tuple(store.outcome(one) for one in row.cells.get(column.key, ()))
        printed, loss, paper_loss = (), None, None
        if store.scale.shows_paper:
            printed = paper.of_cell(table.number, row.labels, row.section, column.key)
        if table.loss and column.key != first:
            loss = _difference(outcomes[0].value, cells[first].outcomes[0].value)
            if printed:
                paper_loss = printed[0] - cells[first].paper[0]
        cells[column.key] = Cell(outcomes, printed, loss, paper_loss)
    return Line(row.labels, row.section, row.setting, cells)


def _with_improvements(table, found, shows_paper):
    sections = list(dict.fromkeys(line.section for line in found))
    result = []
    for section in sections:
        own = [line for line in found if line.section == section]
        ours, rivals = own[-1], own[:-1]
        cells = {}
        for column in table.columns:
            values = [
                outcome.value
                for line in rivals
                for outcome in line.cells[column.key].outcomes
                if outcome.value is not None and not outcome.dead
            ]
            best = max(values, default=None)
            improvement = _difference(ours.cells[column.key].outcomes[0].value, best)
            printed = ()
            if shows_paper:
                printed = paper.of_cell(table.number, (IMPROVEMENT,), section, column.key)
            cells[column.key] = Cell(paper=printed, loss=improvement)
        result += [*own, Line((IMPROVEMENT,), section, "", cells, computed=True)]
    return result


def _with_best(table, found):
    marked = []
    for line in found:
        cells = {}
        for key, cell in line.cells.items():
            rivals = [
                outcome.value
                for other in found
                if other.setting == line.setting and not other.computed
                for outcome in other.cells[key].outcomes
                if outcome.value is not None and not outcome.dead
            ]
            best = max(rivals, default=None) if len(rivals) > 1 else None
            flags = tuple(o.value == best and not o.dead for o in cell.outcomes)
            cells[key] = dataclasses.replace(cell, best=flags if best is not None else ())
        marked.append(dataclasses.replace(line, cells=cells))
    return marked


def _difference(value, other):
    return None if value is None or other is None else value - other


def markdown(table, store, recipe):
    """The table as a Markdown page: title, table, notes.

    Args:
        table: The `Table`.
        store: The `Store`.
        recipe: The `Recipe` that made it, for the notes.
    """
    troubles = []
    page = [f"# {title(table, store.scale)}", ""]
    page.append(_row([*table.label_names, *(column.key for column in table.columns)]))
    page.append(_row(["---"] * (len(table.label_names) + len(table.columns))))
    section = ""
    for line in lines(table, store):
        if line.section != section:
            section = line.section
            blanks = [""] * (len(table.label_names) + len(table.columns) - 1)
            page.append(_row([f"**{section}**", *blanks]))
        texts = [_text(line.cells[column.key], troubles) for column in table.columns]
        page.append(_row([*line.labels, *texts]))
    notes = notes_of(table, store, recipe)
    page += ["", *(f"- {note}" for note in notes)]
    page += [f"- †{i} {trouble}." for i, trouble in enumerate(troubles, start=1)]
    return "\n".join(page) + "\n"


def title(plan, scale):
    """The title of a table or figure, which says what stands for the paper's data."""
    return scale.title(plan.caption, plan.datasets)


def notes_of(plan, store, recipe):
    """What stands under a table or a figure."""
    scale = store.scale
    notes = []
    if plan.readings():
        notes.append("Accuracy in percent of test images, at eps 8/255 where nothing else is said.")
    if hasattr(plan, "rows"):
        notes.append("Bold: the best of each setting.")
        if scale.shows_paper:
            notes.append("In square brackets: the paper's number.")
    if any(attack_groups.group_of(one.measure) == "strongest" for one in plan.readings()):
        notes.append(
            "Worst case: images right when clean and under every L-infinity attack of the suite "
            "`strongest` at 8/255; no column of the paper."
        )
        notes += attack_groups.what_was_cut(scale)
    notes += plan.notes
    notes.append(scale.note.format(eta=recipe.eta))
    if len(recipe.seeds) > 1:
        notes.append(f"Mean and standard deviation over seeds {', '.join(map(str, recipe.seeds))}.")
    return notes


def _row(texts):
    return "| " + " | ".join(texts) + " |"


def _text(cell, troubles):
    if cell.outcomes:
        marks = cell.best or (False,) * len(cell.outcomes)
        text = " / ".join(
            _figure(outcome, best, troubles)
            for outcome, best in zip(cell.outcomes, marks, strict=True)
        )
        if cell.loss is not None:
            text += f" ({cell.loss:+.2f})"
    else:
        text = "" if cell.loss is None else f"{cell.loss:+.2f}"
    return f"{text}{_paper_text(cell)}" if text else _MISSING if cell.paper else ""


def _figure(outcome, best, troubles):
    mark = ""
    if outcome.trouble and outcome.trouble != "missing":
        if outcome.trouble not in troubles:
            troubles.append(outcome.trouble)
        mark = f" †{troubles.index(outcome.trouble) + 1}"
    if outcome.value is None:
        return "failed" + mark if mark else _MISSING
    text = f"{outcome.value:.2f}"
    if outcome.spread is not None:
        text += f" ± {outcome.spread:.2f}"
    return (f"**{text}**" if best else text) + mark


def _paper_text(cell):
    if not cell.paper:
        return ""
    if not cell.outcomes:
        return f" [{cell.paper[0]:+.2f}]"
    text = " / ".join(f"{value:.2f}" for value in cell.paper)
    if cell.paper_loss is not None:
        text += f" ({cell.paper_loss:+.2f})"
    return f" [{text}]"


def csv_text(table, store):
    """The same lines as CSV: each number with images, interval and, where it may be, the paper's.

    Args:
        table: The `Table`.
        store: The `Store`.
    """
    rows = []
    for line in lines(table, store):
        row = dict(zip(table.label_names, line.labels, strict=True))
        row["section"] = line.section
        for column in table.columns:
            row |= _fields(table, column.key, line.cells[column.key], store.scale.shows_paper)
        rows.append(row)
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _fields(table, key, cell, shows_paper):
    fields = {}
    for i, part in enumerate(table.parts):
        name = f"{key} {part}".strip()
        outcome = cell.outcomes[i] if cell.outcomes else None
        if outcome is None:
            value = cell.loss if len(table.parts) == 1 else None
            fields |= {name: _number(value), f"{name} low": "", f"{name} high": "", f"{name} n": ""}
        else:
            fields[name] = _number(outcome.value)
            fields[f"{name} low"] = _number(outcome.low)
            fields[f"{name} high"] = _number(outcome.high)
            fields[f"{name} n"] = "" if outcome.n is None else outcome.n
        fields[f"{name} trouble"] = outcome.trouble if outcome else ""
        if table.loss:
            fields[f"{name} loss"] = _number(cell.loss)
        if shows_paper:
            fields[f"{name} paper"] = _number(cell.paper[i] if cell.paper else None)
    return fields


def _number(value):
    return "" if value is None else f"{value:.2f}"


def write(path, text):
    """Writes a text file, whole or not at all."""
    beside = path.with_name(f"part-{path.name}")
    beside.write_text(text)
    os.replace(beside, path)
