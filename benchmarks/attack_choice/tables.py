"""The tables of docs/evaluation.md, made of the files of their rows."""

from benchmarks import markdown
from benchmarks.attack_choice import rows as planned

# Labels of the suite `strongest`, as the table calls them.
_COLUMNS = {
    "sapgd": "SA-PGD",
    "apgd": "Auto-PGD",
    "hill_climbing": "climb from SA-PGD (500)",
    "hill_climbing_margin": "from the targeted margin",
    "hill_climbing_targeted": "from targeted cross-entropy",
    "apgd_l2": "Auto-PGD, L2",
    "cw_l2": "CW, L2",
}
# Those of `autoattack` and, once the suffix of its backward pass is cut, of `autoattack_assg`.
_PUBLISHED_COLUMNS = {
    "apgd_ce": "Auto-PGD, cross-entropy",
    "apgd_t": "APGD-T",
    "fab_t": "FAB-T",
    "square": "Square",
}


def made(entries):
    """The tables whose rows are all measured, as Markdown, by name.

    Args:
        entries: What is written of each row, by its name.
    """
    return {name: make(entries) for name, (_, make) in TABLES.items() if not missing(name, entries)}


def missing(name, entries):
    """Names of the rows that a table needs and that are not measured."""
    return [row for row in TABLES[name][0] if row not in entries]


def _alone(entries):
    rows = [
        [told["title"], len(_left(told)), f"{_gradients(told):.0f}", f"{told['cpu_seconds']:.0f}"]
        for told in (entries[name] for name in planned.ALONE)
    ]
    rows.sort(key=lambda row: (row[1], float(row[2])))
    # The same for all rows: else they are of other images or another model.
    (right,) = {entries[name]["right_when_clean"] for name in planned.ALONE}
    head = ["attack", f"left of {right} right when clean", "gradients an image", "CPU s"]
    return markdown.table(head, rows)


def _adds(entries):
    before = _common(entries, planned.BEFORE)
    rows = [["SA-PGD of 100 and of 500 steps", len(before), ""]]
    for title, names in planned.ADDED.items():
        gradients = sum(_gradients(entries[name]) for name in names)
        rows.append([title, len(before & _common(entries, names)), f"{gradients:.0f}"])
    head = ["after", "images left", "gradients an image of the climbs"]
    return markdown.table(head, rows)


def _adds_nothing(entries):
    before = _common(entries, planned.TARGETED_AND_CLIMBS)
    rows = [[entries[name]["title"], len(before - _left(entries[name]))] for name in planned.OTHERS]
    return markdown.table(["attack", f"broken of the {len(before)} left"], rows)


def _resets(entries):
    rows = [
        [title, *(len(_left(entries[name])) for name in names)]
        for title, names in planned.RESETS.items()
    ]
    return markdown.table(["images left", "reset cut", "as the neurons train"], rows)


def _sharpness(entries):
    rows = [
        [f"{a:.3f}", f"{planned.sharpness(a):.2f}", len(_left(entries[name]))]
        for a, name in planned.SHARPNESS.items()
    ]
    return markdown.table(["a", "`sharpness`", "images left"], rows)


def _suites(entries):
    told = [entries[name] for name in planned.SUITES]
    linf = [name for name in _COLUMNS if not name.endswith("_l2")]
    rows = []
    for each in told:
        left = [len(each["left"][name]) for name in linf]
        rows.append([each["title"], each["right_when_clean"], *left[:-1], f"**{left[-1]}**"])
    head = ["model, images, eps", "right when clean", *(_COLUMNS[name] for name in linf)]
    return markdown.table(head, rows)


def _costs(entries):
    rows = []
    for name in planned.SUITES:
        told = entries[name]
        gradients = [f"{told['gradients_an_image'][label]:.0f}" for label in _COLUMNS]
        rows.append([told["title"], *gradients, f"{told['cpu_seconds']:.0f}"])
    return markdown.table(["gradients an image", *_COLUMNS.values(), "CPU s of all"], rows)


def _rounded(entries):
    rows = []
    for name in planned.ROUNDED:
        told = entries[name]
        broken = told["right_when_clean"] - len(_left(told))
        (left_on_grid,) = told["left_on_grid"].values()
        on_grid = told["right_on_grid"] - len(left_on_grid)
        rows.append([told["title"], told["right_when_clean"], broken, on_grid])
    head = ["attack", "right when clean", "broken", "broken by images of 8 bits"]
    return markdown.table(head, rows)


def _published(entries):
    rows = []
    for name in planned.PUBLISHED:
        told = entries[name]
        left = {label.removesuffix("_assg"): len(images) for label, images in told["left"].items()}
        shown = [left[label] for label in _PUBLISHED_COLUMNS]
        rows.append([told["title"], told["right_when_clean"], *shown])
    head = ["model, images, suite", "right when clean", *_PUBLISHED_COLUMNS.values()]
    return markdown.table(head, rows)


def _left(told):
    """Numbers of the images that a row's one attack has left."""
    (numbers,) = told["left"].values()
    return set(numbers)


def _gradients(told):
    (number,) = told["gradients_an_image"].values()
    return number


def _common(entries, names):
    return set.intersection(*(_left(entries[name]) for name in names))


def _names(table):
    return tuple(name for names in table.values() for name in names)


# Name of the table: the rows that it needs, and the function that makes it.
TABLES = {
    "attacks-alone": (planned.ALONE, _alone),
    "what-adds": ((*planned.BEFORE, *_names(planned.ADDED)), _adds),
    "what-does-not": ((*planned.TARGETED_AND_CLIMBS, *planned.OTHERS), _adds_nothing),
    "resets": (_names(planned.RESETS), _resets),
    "sharpness": (tuple(planned.SHARPNESS.values()), _sharpness),
    "strongest-left": (planned.SUITES, _suites),
    "strongest-cost": (planned.SUITES, _costs),
    "eight-bits": (planned.ROUNDED, _rounded),
    "published-suites": (planned.PUBLISHED, _published),
}
