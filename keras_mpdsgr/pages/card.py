"""The card of a saved model: a README.md that is made of what lies beside it alone."""

import json

import jinja2

from keras_mpdsgr.errors import SetupError, writing
from keras_mpdsgr.experiments import model_folder, networks
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.tables import radius
from keras_mpdsgr.files import read_json, replacing
from keras_mpdsgr.pages.wording import display_name, several

FILE = "README.md"
# As in the project's pyproject.toml, in the words of model hubs.
LICENSE = "mit"
_TASK = "image-classification"
_PACKAGES = ("keras-mpdsgr", "tensorflow", "keras", "numpy", "python")
_MOST_CLASSES = 20
_BALLS = {"linf": ("L-infinity", "worst_case"), "l2": ("L2", "worst_case_l2")}


def write(run_dir, out=None, reports=None, data_dir=None):
    """Makes the folder of a saved model from a run folder, with its card.

    Args:
        run_dir, out, reports, data_dir: As of `experiments.model_folder.write`.

    Returns:
        Path of the card.

    Raises:
        SetupError: If there is nothing to make it from; see `experiments.model_folder.write`.
    """
    folder = model_folder.write(run_dir, out, reports, data_dir)
    path = folder.path / FILE
    with writing(path), replacing(path) as beside:
        beside.write_text(text(folder.path), encoding="utf-8")
    return path


def differs(path):
    """The first line, by number, where a folder's card is not what is made from it; None if none.

    Raises:
        SetupError: If there is no card.
    """
    card = Run.finished(path).path / FILE
    if not card.is_file():
        raise SetupError(f"{card} is missing. Make it by `python -m trainers.card`.")
    made, there = text(path).split("\n"), card.read_text(encoding="utf-8").split("\n")
    pairs = enumerate(zip(made, there, strict=False), 1)
    unlike = (number for number, (one, other) in pairs if one != other)
    return next(unlike, None if made == there else min(len(made), len(there)) + 1)


def text(path):
    """The card of a saved model's folder, as Markdown with the YAML block that model hubs read.

    Args:
        path: The folder. Its name, config.json, model.keras and reports/ tell all of the card.

    Raises:
        SetupError: If something of it is missing or damaged.
    """
    folder = Run.finished(path)
    reports, config, model = model_folder.card_reports(folder), folder.config, folder.model()
    name, known = folder.path.resolve().name, folder.environment
    return (
        _environment()
        .get_template("card.md")
        .render(
            name=name,
            place=f"{model_folder.HOME}/{name}",
            config=config,
            model=model,
            reports=reports,
            environment=known,
            metadata=_metadata(config),
            results=[_result(config, *one) for one in _shares(reports)],
            summary=_summary(reports),
            defense=_defense(config),
            examples=_examples(config),
            coding=config.coding + _options(config.coding_options),
            leak=f"tau {config.tau:g}"
            if config.learn_tau == "none"
            else f"learnt tau ({config.learn_tau})",
            megabytes=f"{folder.model_path.stat().st_size / 1e6:.1f}",
            classes=_classes(model),
            command=read_json(folder.config_path)["command"],
            machine=_machine(known),
            versions=[f"{package} {known[package]}" for package in _PACKAGES if known.get(package)],
            checked=any(report.checks for report in reports.values()),
            only_weak=all(report.only_weak for report in reports.values()),
            has_l2=any(report.bounded("l2") for report in reports.values()),
        )
    )


def _environment():
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "attack": _attack,
        "cell": lambda said: " ".join(said.replace("|", "\\|").replace("<", "&lt;").split()),
        "display_name": display_name,
        "interval": lambda share: f"{share.low:.2%} .. {share.high:.2%}",
        # JSON is YAML.
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "options": _options,
        "radius": radius,
        "share": lambda share: f"{share.value:.2%}",
    }
    return made


def _metadata(config):
    tags = ["keras", "adversarial-robustness"]
    tags += ["spiking-neural-network"] if config.neuron == "lif" else []
    tags += ["mpd-sgr"] if "mpd_sgr" in _names(config) and config.eta else []
    tags += ["adversarial-training"] if config.adversarial_training else []
    return {
        "license": LICENSE,
        "library_name": "keras",
        "pipeline_tag": _TASK,
        "tags": tags,
        "datasets": [config.dataset],
        "metrics": ["accuracy"],
    }


def _shares(reports):
    """Each share of each report, with the names of both."""
    for report_name, report in reports.items():
        for name, share in report.shares().items():
            yield report_name, report, name, share


def _result(config, report_name, report, name, share):
    """One entry of a model index, as model hubs read it."""
    ball = {} if name == "clean" else _ball(report, name)
    title = display_name("worst_case" if name == "worst_case_l2" else name)
    where = f", {_described(ball)}" if ball else ""
    metric = {
        "type": "accuracy",
        "name": f"accuracy, {title}{where} ({report_name}, {share.total} images)",
        "value": round(share.value, 6),
        "args": {
            "report": report_name,
            "attack": name,
            "images": share.total,
            "interval": [round(share.low, 6), round(share.high, 6)],
            **ball,
        },
    }
    return {
        "task": {"type": _TASK},
        "dataset": {"type": config.dataset, "name": config.dataset, "split": "test"},
        "metrics": [metric],
    }


def _ball(report, name):
    """Norm and radius that a row of a report was attacked in, by name."""
    worst = {row: norm for norm, (_, row) in _BALLS.items()}
    norm = worst.get(name) or report.records[name].norm
    if norm == "linf":
        return {"norm": norm, "eps": radius(report.eps)}
    members = [name] if name in report.records else report.bounded(norm)
    radii = {report.records[member].attack["arguments"].get("eps") for member in members}
    known = sorted(one for one in radii if one is not None)
    return {"norm": norm} | ({"eps": ", ".join(f"{one:g}" for one in known)} if known else {})


def _described(ball):
    title, _ = _BALLS.get(ball["norm"], (ball["norm"], None))
    return f"{title}, eps {ball['eps']}" if "eps" in ball else title


def _attack(described):
    """An attack in few words: its class, what it is made of, and its steps."""
    arguments = described["arguments"]
    inner = next((v for v in arguments.values() if isinstance(v, dict) and "class" in v), None)
    steps = several(arguments["steps"], "step") if "steps" in arguments else None
    told = [described["class"], steps, inner and f"from {_attack(inner)}"]
    return ", ".join(filter(None, told))


def _summary(reports):
    """What each report leaves of its images, an entry a threat model."""
    entries = []
    for name, report in reports.items():
        shares = report.shares()
        for norm, (_, worst) in _BALLS.items():
            if worst in shares:
                entries.append(
                    {
                        "report": name,
                        "n": report.n,
                        "ball": _described(_ball(report, worst)),
                        "clean": shares["clean"],
                        "worst": shares[worst],
                        "strongest": report.strongest(norm),
                    }
                )
    return entries


def _defense(config):
    weight = f"{config.eta:g}"
    titles = {
        "mpd_sgr": f"MPD-SGR, eta {weight}" if config.eta else "",
        "rate": f"a firing-rate penalty of weight {weight}",
        "none": "",
    }
    said = " and ".join(titles.get(name, name.upper()) for name in _names(config))
    parts = [said + _options(config.defense_options)] if said else []
    if config.weight_rule == "reg":
        parts.append("REG's weight rule")
    if config.adversarial_training:
        loss = (
            "" if config.adversarial_loss == "pgd" else f", loss {config.adversarial_loss.upper()}"
        )
        method = config.adversarial_method.upper().replace("_", "-")
        how = f"{method}, eps {radius(config.adversarial_eps)}{loss}"
        parts.append(f"adversarial training ({how})")
    if config.awp:
        parts.append(f"AWP {config.awp:g}")
    return ", ".join(parts) or "no defence"


def _examples(config):
    """How the images of adversarial training were made; None without."""
    adversary = networks.make_adversary(config)
    if adversary is None:
        return None
    start = "from a random start" if adversary.random_start else "from the image"
    said = f"{several(adversary.steps, 'step')} of {radius(adversary.step_size)} {start}"
    if adversary.gradient is not None:
        said += f", gradient by {adversary.gradient}"
    if config.adversarial_warmup:
        said += f", radius rising over the first {config.adversarial_warmup:.0%} of the steps"
    return said


def _names(config):
    return [name.strip() for name in config.defense.split(",")]


def _options(options):
    return "".join(f", {name} {value}" for name, value in options.items())


def _classes(model):
    names = list(model.class_names)
    more = len(names) - _MOST_CLASSES
    return names[:_MOST_CLASSES] + ([f"and {more} more"] if more > 0 else [])


def _machine(known):
    cores = [several(known["cores"], "CPU core")] if known.get("cores") else []
    return cores + ([str(known["processor"])] if known.get("processor") else [])
