"""What the pages say is so: their examples run, their flags and links exist, the site builds."""

import html
import importlib
import importlib.util
import inspect
import json
import os
import pathlib
import pkgutil
import re
import runpy
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

import keras_mpdsgr
from keras_mpdsgr import attacks, data, defenses, export, surrogates
from keras_mpdsgr.experiments import AttackConfig, ExperimentConfig, imports

shown = runpy.run_path(str(pathlib.Path(__file__).with_name("shown.py")))
REPOSITORY, DOCS, PAGES = (shown[name] for name in ("REPOSITORY", "DOCS", "PAGES"))
blocks = shown["blocks"]
# The README's own example is run by test_readme.py.
LEFT_OUT = {"README.md"}
# A model and images, where a page takes them as given. All are misclassified from the start, so
# that a suite has nothing to attack.
BEFORE = {
    "evaluation.md": """
import keras
import keras_mpdsgr
import numpy as np
from keras_mpdsgr import LIFLayer, layers
flat, dense = keras.layers.Flatten(), keras.layers.Dense(3)
model = keras.Sequential([keras.Input((4, 4, 1)), layers.DirectEncoder(2), LIFLayer(tau=0.5)])
for layer in (layers.FoldTime(flat), layers.FoldTime(dense), layers.TemporalMean()):
    model.add(layer)
x = np.random.default_rng(0).uniform(size=(4, 4, 4, 1)).astype("float32")
y = (np.asarray(model(x)).argmax(axis=1) + 1) % 3
""",
    # In place of the file that PyTorch writes.
    "judge.md": """
import keras
from keras_mpdsgr import LIFLayer, export, layers
written = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten()])
for layer in (keras.layers.Dense(8), layers.DirectEncoder(2), LIFLayer(), keras.layers.Dense(10)):
    written.add(layer)
export.to_nir(written, "network.nir")
""",
}


def relative(page):
    return page.relative_to(REPOSITORY).as_posix()


def run_in_order(pieces, label):
    """Runs pieces of one program in a namespace of its own, each named in a traceback."""
    namespace = {"__name__": "example"}
    for number, piece in enumerate(pieces, 1):
        exec(compile(piece, f"{label}, example {number}", "exec"), namespace)
    return namespace


PAGES_WITH_PYTHON = [p for p in PAGES if p.name not in LEFT_OUT and blocks(p, "python")]


@pytest.mark.usefixtures("quick_collection", "shallow")
@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=relative)
def test_the_examples_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [BEFORE[page.name]] if page.name in BEFORE else []
    run_in_order([*before, *blocks(page, "python")], relative(page))


def test_the_network_of_pytorch_on_a_page_is_the_one_that_is_imported(tmp_path, monkeypatch):
    for library in ("nir", "torch", "spikingjelly"):
        pytest.importorskip(library, reason="needs the extras `nir` and `bench`")
    monkeypatch.chdir(tmp_path)
    (written,) = blocks(DOCS / "judge.md", "py")
    names = run_in_order([written], "judge.md")
    image = np.random.default_rng(0).uniform(size=(1, 16, 16, 1)).astype("float32")
    torch = names["torch"]
    with torch.no_grad():
        outputs = [
            names["network"](torch.from_numpy(image.reshape(1, 1, 16, 16))) for _ in range(8)
        ]
    imported = export.from_nir("network.nir", timesteps=8)
    np.testing.assert_allclose(imported(image), torch.stack(outputs).mean(0), atol=1e-5)


def notebook_cells():
    notebook = json.loads((DOCS / "quickstart.ipynb").read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_holds_the_outputs_of_one_run():
    cells = notebook_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [
        kind for cell in cells for output in cell["outputs"] for kind in output.get("data", ())
    ]
    assert kinds.count("image/png") == 3
    printed = "".join(text for cell in cells for output in cell["outputs"]
                      for text in output.get("text", ()))  # fmt: skip
    assert "Epoch 6/6" in printed and "| worst_case |" in printed
    assert all(output.get("name") != "stderr" for cell in cells for output in cell["outputs"])
    assert (DOCS / "quickstart.ipynb").stat().st_size < 300_000


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    cells = ["".join(cell["source"]) for cell in notebook_cells()]
    names = run_in_order(cells, "quickstart.ipynb")
    for report in names["reports"].values():
        assert report.clean > 0.8  # it has learned something
        assert report.worst_case <= min(report.accuracy.values())


def commands():
    """Program -> the words of each command of it that a page shows, with the page."""
    found = {}
    for page in PAGES:
        for program, words in shown["commands"](page):
            found.setdefault(program, []).append((relative(page), words))
    return found


COMMANDS = commands()


@pytest.mark.parametrize("program", sorted(COMMANDS))
def test_the_commands_that_pages_show_are_understood(program, run):
    # The program itself up to where it would begin, as some define their flags only there.
    parse = """
import json, runpy, sys
from absl import flags
from trainers import program
name, *lines = sys.argv[1:]

def parse(main, description, positional=False, **options):
    flags.FLAGS.set_gnu_getopt(True)
    for page, words in map(json.loads, lines):
        flags.FLAGS.unparse_flags()
        try:
            rest = flags.FLAGS([name, *words])[1:]
        except flags.Error as error:
            sys.exit(f"{page}: python -m {name} {' '.join(words)}: {error}")
        if rest and not positional:
            sys.exit(f"{page}: {name} takes no {rest[0]!r}")
    print("understood", len(lines))

program.run = parse
runpy.run_module(name, run_name="__main__")
"""
    lines = [json.dumps(shown) for shown in COMMANDS[program]]
    status, out, err = run(None, program, *lines, text=parse)
    assert status == 0, err[-1000:]
    assert out == f"understood {len(lines)}\n"


OWN_PARTS = {
    "own-attack": "ti_pgd",
    "own-data": "stripes",
    "own-defence": "stability",
    "own-surrogate": "two_sided_exponential",
}


@pytest.mark.parametrize(("page", "name"), OWN_PARTS.items())
def test_the_command_of_a_page_brings_what_its_reader_has_written(
    page, name, tmp_path, monkeypatch
):
    registries = (attacks, defenses.base, surrogates.base, data.datasets)
    for registry in registries:
        # Without what the examples of the page have registered, where these were run before.
        held = {k: v for k, v in registry._registry.items() if k != name}
        monkeypatch.setattr(registry, "_registry", held)
    path = DOCS / "howto" / f"{page}.md"
    text = next(text for text in blocks(path, "python") if f'"{name}"' in text)
    ((program, words),) = [
        (program, words)
        for program, shown in COMMANDS.items()
        for where, words in shown
        if where == relative(path) and "--import" in words
    ]
    config = ExperimentConfig if program == "trainers.cifar" else AttackConfig
    pairs = zip(words[::2], words[1::2], strict=True)
    config = config.from_words(f"{flag}={value}" for flag, value in pairs)
    (module,) = config.imports
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    imports.load(config.imports)
    monkeypatch.delitem(sys.modules, module)
    if program == "trainers.cifar":
        assert name in (config.dataset, config.defense, config.surrogate)
        config.check_names()
    else:
        assert attacks.get(config.attacks[0]).kernel_size == 5


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files_that_exist(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material", "mkdocstrings_handlers", "nbconvert"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"no {module} here: pip install -c constraints.txt -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        # Material announces its end of life in 2027 at each build.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "WARNING" not in result.stderr
    return folder


def test_the_site_fetches_nothing_when_it_is_read(site):
    tag = r"<(?:script|link|img|iframe)\b[^>]*"
    fetched = re.compile(rf"""{tag}\b(?:src|href)=["']?(?:https?:)?//""")
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    assert [page.name for page in pages if fetched.search(page.read_text())] == []


def test_the_site_shows_the_notebook_with_its_outputs(site):
    page = (site / "quickstart" / "index.html").read_text()
    for text in ("PotentialProbe", "worst_case", "Epoch 6/6"):
        assert text in page
    pictures = re.findall(r'<img [^>]*src="([^"]+\.png)"', page)
    assert len(pictures) == 3
    assert all((site / "quickstart" / picture).is_file() for picture in pictures)
    assert 'href="quickstart/"' in (site / "index.html").read_text()


def is_of(module, value):
    private = getattr(value, "__name__", "_").startswith("_")
    return getattr(value, "__module__", None) == module.__name__ and not private


@pytest.mark.parametrize("room", sorted(page.stem for page in (DOCS / "api").glob("*.md")))
def test_every_public_name_is_in_the_reference(site, room):
    text = (site / "api" / room / "index.html").read_text()
    described = {name.split(".")[-1] for name in re.findall(r'id="([\w.]+)"', text)}
    module = importlib.import_module(f"keras_mpdsgr.{room}")
    ours = (name for name, value in vars(module).items() if is_of(module, value))
    names = {name for name in getattr(module, "__all__", ours) if callable(getattr(module, name))}
    assert names - described == set()


def test_attacks_are_shown_with_their_arguments_and_default_values(site):
    page = (site / "api" / "attacks" / "index.html").read_text()
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    found = dict(re.findall(r"^(\w+)\(\n((?: {4}.*\n)+)\)$", text, re.MULTILINE))
    classes = [attacks.HART, attacks.CarliniWagnerL2, attacks.Ensemble, attacks.Square, attacks.PGD]
    for attack in classes:
        namespace = {}
        exec(f"def shown({found[attack.__name__]}): pass", namespace)
        (told, real) = map(inspect.signature, (namespace["shown"], attack))
        assert {name: one.default for name, one in told.parameters.items()} == {
            name: one.default for name, one in real.parameters.items()
        }


def test_every_room_has_a_page_in_the_reference():
    # By the folders: `tuning` is not imported with the rest, as KerasTuner is slow to import.
    rooms = {room.name for room in pkgutil.iter_modules(keras_mpdsgr.__path__) if room.ispkg}
    assert {page.stem for page in (DOCS / "api").glob("*.md")} == rooms
