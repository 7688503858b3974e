"""From a fresh clone to a trained network, its answers for images, and spiking layers of one's own.

Follows README.md, docs/use.md and docs/guide.md. Images of digits stand for the reader's own.
"""

import pathlib
import re
import runpy
import shlex

import pytest

shown = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "shown.py"))
README, DOCS = shown["README"], shown["DOCS"]
PREDICT = "trainers.predict"


@pytest.fixture
def trained(reader):
    """Run folder of what the README's command trains; without a training, of a saved model."""
    if reader.small:
        return "saved_models/digits"
    *_, start = shown["marked"](README, "run").split(" && ")
    _, _, module, *words = shlex.split(start)
    out = reader.types(module, words)
    for row in ("clean", "fgsm", "pgd", "sapgd50", "worst case"):
        assert re.search(rf"│ {row} .*%.*%", out)
    assert float(re.search(r"│ clean +│ +([\d.]+)%", out)[1]) > 90
    return re.search(r"run folder (\S+)", out)[1]


def test_what_was_trained_classifies_images(reader, trained, photographs):
    commands = reader.commands(DOCS / "use.md", PREDICT)
    assert len(commands) > 2
    if reader.small:  # attacks take longer than all else
        commands = [words for words in commands if "--attack" not in " ".join(words)]
    for words in commands:
        instead = {"RUN_DIR": [trained], "model.keras": [f"{trained}/model.keras"]}
        lines = reader.types(PREDICT, words, **instead).splitlines()
        assert len(lines) == (3 if "scans/" in words else 1)
        for line in lines:
            path, name, share, *rest = line.split("\t")
            assert reader.folder / path in photographs
            assert name in set("0123456789") and 0 <= float(share) <= 1
            attacked = any(word.startswith("--attack") for word in words)
            top = int(words[words.index("--top") + 1]) if "--top" in words else 1
            assert len(rest) == 2 * (top - 1) + 4 * attacked + 4 * ("--output" in words)
            if attacked:
                assert rest[3] in ("flipped", "kept")
            if "--output" in words:
                assert (reader.folder / rest[4].removesuffix(":")).is_file()


# test_readme.py and test_docs.py run these with the packages that are here.
@pytest.mark.slow
@pytest.mark.parametrize("reader", ["installed"], indirect=True)
def test_spiking_layers_train_in_a_keras_model(reader):
    assert "'sapgd'" in reader.python(shown["blocks"](README, "python")[0])
    printed = reader.python("\n".join(shown["blocks"](DOCS / "guide.md", "python")))
    assert "{'lif1': 0.025, 'lif2': 0.025}" in printed
