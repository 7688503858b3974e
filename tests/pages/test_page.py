"""The page: what it holds, that nothing in the files can change it, and that it looks right."""

import csv
import html.parser
import itertools
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from keras_mpdsgr import evaluation
from keras_mpdsgr.pages import charts, page, page_runs
from trainers import program

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EVIL = (
    "</td><script>alert(1)</script><img src=x onerror=alert(2)> \" ' $style & {{x}} {% raise %} {#"
)
_VOID = {"meta", "br", "img"}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


def report(n=200, attacks=("fgsm", "pgd", "sapgd"), share=0.5, evil=""):
    """A report whose attacks leave `share`, and 10 % less each; 90 % are right when clean."""
    labels = np.arange(n) % 10
    zeros = np.zeros(n)

    def prediction(right):
        return np.where(np.arange(n) < round(right * n), labels, labels + 1)

    return evaluation.Report(
        labels,
        prediction(0.9),
        {
            name + evil: evaluation.AttackRecord(
                norm="linf",
                attack={"class": name.upper(), "arguments": {"gradient": "bptt", "words": evil}},
                prediction=prediction(share - 0.1 * i),
                loss=zeros,
                linf=zeros,
                l2=zeros,
            )
            for i, name in enumerate(attacks)
        },
        eps=8 / 255,
        config={"dataset": f"digits{evil}"},
        checks={f"more_steps{evil}": evaluation.Check("warn", {}, f"says {evil}")},
        command=f"python -m trainers.attack {evil}",
    )


def write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_run(folder, eta=0.05, evil="", epochs=4, **reports):
    """A run folder as a training and an attack leave it, without a model."""
    (folder / "results").mkdir(parents=True)
    config = {
        "flags": {"dataset": "digits", "eta": eta, "seed": 7},
        "places": {"data_dir": evil or None},
        "versions": {"python": "3.11.7", "keras": f"3.15.1{evil}"},
        "machine": {"cores": 2},
        "commit": f"abc{evil}",
    }
    (folder / "config.json").write_text(json.dumps(config))
    curves = ("loss", "val_loss", "cross_entropy", "accuracy", "val_accuracy", "omega")
    layer = {"omega": 0.4, "firing_rate": 0.2, "lambda": 1.1, "beta": 0.1}
    layers = {
        f"{name}{evil}/{quantity}": value
        for name in ("conv1_lif", "dense1_lif")
        for quantity, value in layer.items()
    }
    metrics = [
        {"epoch": e, **dict.fromkeys(curves, 2 / e + eta), **layers} for e in range(1, epochs + 1)
    ]
    write_table(folder / "metrics.csv", metrics)
    for name, content in (reports or {"final": report(evil=evil)}).items():
        content.to_json(folder / "results" / f"{name}.json")
    sweep = evaluation.Sweep(f"eps{evil}", (0.01, 0.03), (15, 4), 20)
    sweep.to_json(folder / "results" / "sweep-pgd-eps.json")
    (folder / "results" / "final-images.png").write_bytes(PNG)
    return folder


class Reader(html.parser.HTMLParser):
    """Elements and text of a page, and whether its tags fit together."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._open = [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def rendered(*folders):
    return page.render(page_runs.read(folders), "the command", histograms=False)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    weak = report(attacks=("fgsm", "pgd"))
    return make_run(folder / "plain", eta=0.0, final=weak), make_run(folder / "regular")


@pytest.fixture(scope="module")
def two(two_runs):
    return rendered(*two_runs)


def row_with(text, *words):
    """Text of the first table row that holds all these words."""
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    plain = [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]
    return next(row for row in plain if all(word in row for word in words))


def test_the_summary_has_worst_case_interval_n_and_strongest_attack_in_one_row(two):
    row = row_with(two, "regular", "final")
    for figure in ("30.0%", "24.1% to 36.7%", "200", "SA-PGD, 30.0%", "90.0%", "8/255"):
        assert figure in row


def test_a_run_of_fgsm_and_pgd_alone_is_marked_as_not_strongly_attacked(two):
    assert "no strong attack was run" in row_with(two, "plain", "final")
    assert "no strong attack" not in row_with(two, "regular", "final")


def test_every_table_of_attacks_names_n_and_marks_the_strongest(two):
    heads = re.findall(r'<th scope="col">.*?</th>', two)
    assert sum("200 images, eps 8/255" in head for head in heads) == 2
    assert "strongest" in row_with(two, "SA-PGD", "to", "not run")


def test_a_check_that_failed_says_what_it_means_and_what_to_do(tmp_path):
    held = report()
    held.checks["gradient_beats_search"] = evaluation.Check("fail", {}, "Square < SA-PGD")
    row = row_with(rendered(make_run(tmp_path / "run", final=held)), "gradient beats search")
    assert "Square &lt; SA-PGD" in row
    assert "Next: Judge the model by the suite strongest , which searches too" in row


def test_flags_that_differ_are_listed_and_marked(two):
    differing = two[two.index("Flags that differ") :].split("</table>")[0]
    assert "eta" in differing
    assert "seed" not in differing
    assert '<span class="mark-differs">0.05</span>' in two


def test_the_commands_of_training_attack_and_page_are_there(two, two_runs):
    text = "".join(Reader(two).text).splitlines()
    for run, eta in zip(two_runs, ("--eta=0.0 ", ""), strict=True):
        assert f"python -m trainers.cifar --dataset=digits --run_dir={run} {eta}--seed=7" in text
    assert "the command" in text


def test_checks_verdict_curves_layers_sweeps_and_pictures_are_there(two):
    text = " ".join(Reader(two).text)
    for words in ("Verdict:", "more steps", "Cross-entropy", "conv1_lif", "pgd", "tdBN's lambda"):
        assert words.lower() in text.lower()
    images = Reader(two).all("img")
    assert len(images) == 2
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)


def test_results_of_a_model_file_are_shown_alone_and_beside_a_run(two_runs, tmp_path):
    results = tmp_path / "net-results"
    results.mkdir()
    report().to_json(results / "strongest.json")
    (tmp_path / "net.keras").write_bytes(b"not read")
    alone = rendered(tmp_path / "net.keras")
    Reader(alone)
    assert "SA-PGD, 30.0%" in row_with(alone, "net-results", "strongest")
    for absent in ("What was run", "Training", "Run against run"):
        assert absent not in alone
    both = rendered(results, two_runs[1])
    assert "Paired tests on report strongest and final" in both
    assert page.write([tmp_path / "net.keras"], histograms=False) == results / "report.html"


def test_a_model_file_without_results_is_refused_with_the_command_that_makes_them(tmp_path):
    (tmp_path / "net.keras").write_bytes(b"")
    with pytest.raises(program.SetupError, match="has no results in .*net-results. Attack it: "):
        page_runs.read([tmp_path / "net.keras"])


def test_runs_go_by_what_tells_them_apart_and_their_paths_are_at_hand(tmp_path):
    folders = [make_run(tmp_path / f"digits-vgg11-{eta}-0123abc{i}") for i, eta in enumerate("ab")]
    text = rendered(*folders)
    assert "Robustness of 2 runs: a, b<" in text
    for folder in folders:
        assert f'<span class="run" title="{folder}">' in text


def test_a_page_of_one_run_has_no_comparison(two_runs):
    text = rendered(two_runs[1])
    assert "Run against run" not in text
    assert "Flags that differ" not in text


def test_the_page_takes_nothing_from_elsewhere_and_runs_no_script(two):
    reader = Reader(two)
    assert not reader.all("script", "link", "iframe", "object", "base")
    for attributes in (attributes for _, attributes in reader.elements):
        for name in ("src", "href", "xlink:href", "style"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:image/png;base64,")), value
    assert not re.search(r"url\(|@import|https?://", two)
    policy = next(m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'")


def test_the_page_is_accessible_by_its_structure(two):
    reader = Reader(two)
    assert reader.all("html") == [{"lang": "en"}]
    assert "".join(re.findall(r"<title>(.*?)</title>", two)[:1]).startswith("Robustness of 2 runs")
    ranks = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert ranks[0] == 1
    assert ranks.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(ranks))
    assert all(cell.get("scope") for cell in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table"))
    assert all(image.get("alt") for image in reader.all("img"))
    for picture in reader.all("svg"):
        assert picture.get("role") == "img" or picture.get("aria-hidden") == "true"
    names = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for link in reader.all("a"):
        assert link["href"].removeprefix("#") in names


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_all_words_and_lines_stand_out_from_the_paper_in_light_and_dark():
    """WCAG 2.2: 4.5 for text."""
    style = (REPOSITORY / "keras_mpdsgr" / "pages" / "style.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        series = [name for name in colors if name.startswith("series-")]
        assert len(series) == page_runs.COLORS
        for name in ("ink", "quiet", "link", "good", "warn", "bad", *series):
            assert contrast(colors[name], colors["paper"]) >= 4.5, name
        for name in series:
            assert contrast(colors[name], colors["on-series"]) >= 4.5, name
        for name in ("ink", "quiet"):
            assert contrast(colors[name], colors["raised"]) >= 4.5, name
        assert contrast(colors["ink"], colors["differs"]) >= 4.5


def test_what_comes_from_files_is_text_never_markup(tmp_path):
    evil = make_run(tmp_path / "<b onclick=x>evil", evil=EVIL)
    clean = make_run(tmp_path / "clean")
    text = rendered(evil, clean)
    reader = Reader(text)
    ours = {tag for tag, _ in Reader(rendered(clean)).elements} | {"br", "div", "span"}
    assert {tag for tag, _ in reader.elements} <= ours
    assert "script" not in ours
    for _, attributes in reader.elements:
        assert not any(name.startswith("on") for name in attributes)
    assert " ".join(reader.text).count("<script>alert(1)</script>") > 10


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_that_has_just_begun_is_shown_as_far_as_it_is(tmp_path, epochs):
    folder = make_run(tmp_path / "young", epochs=epochs)
    for path in (folder / "results").iterdir():
        path.unlink()
    with (folder / "metrics.csv").open("a") as file:
        file.write("9,0.1,")  # as a kill leaves it
    text = rendered(folder)
    Reader(text)
    assert "No report yet" in text
    assert not re.search(r"\bnan\b", text)


def test_a_folder_without_curves_says_so():
    text = rendered(REPOSITORY / "saved_models" / "digits")
    assert "No curves" in text
    held = evaluation.Report.from_json(REPOSITORY / "saved_models/digits/reports/final.json")
    assert f"SA-PGD-50, {held.accuracy['sapgd50']:.1%}" in row_with(text, "digits", "final")


def drawn(*arguments, **options):
    """A chart as the page has it."""
    macro = page.environment().get_template("charts.html").module.chart
    return str(macro(charts.chart("t", *arguments, **options)))


def test_values_that_are_no_numbers_break_a_curve_and_do_not_spoil_a_chart():
    nan = float("nan")
    curve = charts.Curve([1, 2, 3, 4, 5], [1.0, 2.0, nan, 4.0, 5.0], letter="A")
    picture = drawn([curve], "epoch", whole_x=True)
    assert picture.count("<polyline") == 2
    assert "nan" not in picture
    assert "<polyline" not in drawn([charts.Curve([1], [nan])], "epoch")


def test_points_stand_at_the_ticks_of_their_values():
    picture = drawn([charts.Curve([0, 10], [0.0, 1.0])], "x", y_limits=(0, 1))
    (points,) = re.findall(r'polyline points="([^"]*)"', picture)
    (x0, y0), (x10, y1) = (map(float, point.split(",")) for point in points.split())
    ticks = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="(middle|end)">([\d.]+)<', picture)
    across = {value: float(x) for x, _, kind, value in ticks if kind == "middle"}
    upwards = {value: float(y) - 4 for _, y, kind, value in ticks if kind == "end"}
    assert (across["0"], across["10"]) == (x0, x10)
    assert (upwards["0"], upwards["1"]) == pytest.approx((y0, y1))
    assert x0 < x10
    assert y0 > y1


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda run: (run / "config.json").unlink(), "is not a run folder"),
        (lambda run: (run / "config.json").write_text("{"), "is damaged"),
        (lambda run: (run / "config.json").write_text('{"flags": 3}'), "is damaged"),
        (lambda run: (run / "config.json").write_text('{"flags": {"a": 3}}'), "another version"),
        (lambda run: (run / "metrics.csv").write_bytes(b"epoch,loss\n1,\xff\n"), "metrics.csv"),
    ],
)
def test_a_broken_run_is_named_and_the_page_that_was_there_stays(tmp_path, break_it, said):
    run = make_run(tmp_path / "run")
    break_it(run)
    output = tmp_path / "page.html"
    output.write_text("old")
    with pytest.raises(program.SetupError, match=re.escape(said)):
        page.write([run], output, histograms=False)
    assert output.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "run"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"clean": 0.', "final.json is damaged or missing"),
        (b"\xff\xfe\xff", "final.json is damaged or missing"),
        (b"[" * 10**5, "final.json is damaged or missing"),
        (b"[1]", "final.json holds neither a report nor a sweep"),
        (b'{"n": 2, "clean": 1.0, "accuracy": {"fgsm": 0.5}}', "written by an older version"),
    ],
)
def test_results_that_cannot_be_read_are_named_in_one_line_among_the_others(
    tmp_path, content, said
):
    run = make_run(tmp_path / "run", other=report(), final=report())
    (run / "results" / "final.json").write_bytes(content)
    text = rendered(run)
    (line,) = re.findall('<p class="note">.*not shown.*</p>', text)
    assert said in " ".join(Reader(line).text)
    assert "SA-PGD, 30.0%" in row_with(text, "run", "other")


def test_a_page_that_cannot_be_written_is_said_before_a_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.delattr(page, "render")
    run = make_run(tmp_path / "run")
    for output, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "page.html", "no folder")):
        with pytest.raises(program.SetupError, match=said):
            page.write([run], output)


def test_a_run_that_is_given_twice_is_refused(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(program.SetupError, match="given twice"):
        page.write([run, run / ".." / "run"], tmp_path / "page.html")


@pytest.fixture
def report_on(run):
    def report_on(*words):
        status, out, err = run("trainers.report", *words)
        errors = [x for x in err.splitlines() if x.startswith("error:") or "Traceback" in x]
        return status, out, errors

    return report_on


def test_the_program_takes_folders_before_its_flags(two_runs, report_on, tmp_path):
    output = tmp_path / "page.html"
    status, out, errors = report_on(*two_runs, "--output", output, "--nohistograms")
    assert (status, errors) == (0, [])
    assert str(output) in out
    assert "trainers.report" in output.read_text()
    assert list(tmp_path.iterdir()) == [output]


def test_the_program_writes_into_the_first_run_folder_where_no_file_is_named(report_on, tmp_path):
    first, second = make_run(tmp_path / "first"), make_run(tmp_path / "second")
    status, out, errors = report_on(first, second, "--nohistograms")
    assert (status, errors) == (0, [])
    assert out == f"page: {first / 'report.html'}\n"
    assert "Robustness of 2 runs" in (first / "report.html").read_text()
    assert not (second / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "at least one run folder"),
        (["no/such/run", "--output", "x.html"], "no/such/run is not a run folder"),
    ],
)
def test_a_wrong_call_gets_one_line_and_status_2(words, said, report_on):
    status, out, errors = report_on(*words)
    assert (status, out) == (2, "")
    (line,) = errors
    assert said in line
    assert not (REPOSITORY / "x.html").exists()


WRAPPER = """<!DOCTYPE html><title>widths</title>
<iframe src="page.html" style="width:390px;height:800px;border:0"></iframe>
<iframe src="page.html" style="width:1280px;height:800px;border:0"></iframe>
<pre></pre>
<script>
addEventListener("load", () => {
  const widths = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument;
    for (const closed of page.querySelectorAll("details")) closed.open = true;
    const root = page.scrollingElement;
    const chart = page.querySelector("svg.chart").getBoundingClientRect();
    const paper = getComputedStyle(page.body).backgroundColor;
    // What was opened just now learns only at the next frame whether it scrolls.
    const boxes = [...page.querySelectorAll("section > :not(details) .scroll")];
    const hints = boxes.map((box) => {
      const style = getComputedStyle(box.querySelector(".hint"));
      return [box.scrollWidth > box.clientWidth, style.visibility];
    });
    return [root.scrollWidth, root.clientWidth, chart.width, chart.height, paper, hints];
  });
  document.querySelector("pre").textContent = JSON.stringify(widths);
});
</script>"""


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium here: install Debian's package chromium")
    return found


@pytest.mark.parametrize(("scheme", "paper"), [(0, "rgb(20, 23, 27)"), (1, "rgb(255, 255, 255)")])
def test_a_browser_shows_the_page_at_both_widths_without_scrolling_or_complaint(
    two_runs, chromium, tmp_path, scheme, paper
):
    wordy = make_run(tmp_path / ("long" * 40), evil="x" * 300)
    (tmp_path / "page.html").write_text(rendered(*two_runs, wordy))
    (tmp_path / "widths.html").write_text(WRAPPER)
    flags = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
        --disable-background-networking --disable-component-update --disable-sync
        --allow-file-access-from-files --enable-logging=stderr --dump-dom"""
    done = subprocess.run(
        [
            chromium,
            *flags.split(),
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--user-data-dir={tmp_path / 'profile'}",
            (tmp_path / "widths.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    for width, shown in zip((390, 1280), json.loads(found[1]), strict=True):
        scroll_width, client_width, chart_width, chart_height, background, hints = shown
        assert client_width >= width - 20  # less a scroll bar
        assert scroll_width <= client_width
        assert 250 < chart_width < width
        assert chart_height > 100
        assert background == paper
        # Boxes that scroll say so, and no other.
        assert all((visible == "visible") == scrolls for scrolls, visible in hints)
        assert any(scrolls for scrolls, _ in hints) or width > 390
    assert "CONSOLE" not in done.stderr
