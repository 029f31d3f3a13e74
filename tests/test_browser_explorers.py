"""Explorers in a real JupyterLab: a notebook is opened and run, then clicked and typed in.

What is trained is tiny, so that all of it takes a minute. `XMR_KEEP_SCREENSHOTS=1` takes the runs
of `make demo` in their place (and trains what it lacks), and keeps the pictures in `figures/`.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from browser.chromium import chromium, missing, picture_of
from browser.notebook import NOTEBOOK_7, Notebook
from browser.server import jupyter_server
from xmr_course.explorers.ablation import Choice
from xmr_course.explorers.attention import attention_explorer, look, plot_look
from xmr_course.explorers.bars import metrics
from xmr_course.explorers.found import find_captions, find_images, plot_found
from xmr_course.explorers.items import tree_items
from xmr_course.explorers.margin import CircleBatch, plot_batch
from xmr_course.explorers.rerank import Reranking
from xmr_course.explorers.trees import plot_item
from xmr_course.tables import paper

from xmr_lib import runs, toy
from xmr_lib.files import figures_dir, runs_dir
from xmr_lib.reranking import Settings

REASON = missing("jupyterlab", "notebook", "ipywidgets", "nbconvert")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]
KEEP = os.environ.get("XMR_KEEP_SCREENSHOTS") == "1"
PICTURES = figures_dir()  # asked before a test gets a folder of its own
SMALL = {"epochs": 2, "word_dim": 8, "rnn_dim": 16, "joint_dim": 16, "batch_size": 16}
RECIPES = {"rfe": "RFE", "vsepp": "VSE++", "scan": "SCAN t-i AVG", "smfea": "SMFEA"}
EXPLORERS = {  # of each test its own
    "sentence": "widgets.retrieval_explorer([rfe, vsepp])",
    "failure": "widgets.retrieval_explorer(rfe)",
    "picture": "widgets.retrieval_explorer(rfe)",
    "attention": "widgets.attention_explorer(scan)",
    "tree": "widgets.tree_explorer(smfea, captions=range(6))",
    "rerank": "widgets.rerank_explorer(rfe)",
    "ablation": "widgets.ablation_explorer('rfe-6')",
    "margin": "widgets.margin_playground()",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs by their names in the notebook."""
    folder = tmp_path_factory.mktemp("browser-runs")
    with pytest.MonkeyPatch.context() as patch:
        if KEEP:
            data, root, small = "toy", runs_dir(), {}
        else:
            patch.setenv("XMR_CACHE", str(folder / "cache"))
            data, root, small = str(folder / "toy"), folder / "runs", SMALL
            toy.draw(n_train=24, n_val=6, n_test=12, folder=data)
        yield SimpleNamespace(
            **{
                name: runs.run(recipe, data, scale="toy", root=root, **small)
                for name, recipe in RECIPES.items()
            }
        )


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jupyter") / "server"
    with jupyter_server(folder, {"XMR_FIGURES": str(PICTURES)}) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium"), 1280, 1500 if KEEP else 800) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def lab(page, server, trained):
    """The notebook of all explorers, run in JupyterLab."""
    server.write("explorers.ipynb", [loading(trained, *RECIPES), *EXPLORERS.values()])
    notebook = Notebook(page, server, "explorers.ipynb")
    notebook.run_all()
    return notebook


@pytest.fixture(autouse=True)
def _evidence(request, page):
    """Whatever fails leaves a picture of the page."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(page.evidence(request.node.name))


@pytest.fixture
def screenshot(page, tmp_path):
    def taken(explorer, name: str) -> None:
        """Saves how an explorer looks, in `figures/` if it shall be kept."""
        page.script("arguments[0].scrollIntoView()", explorer.box)
        path = (PICTURES if KEEP else tmp_path) / f"explorer_{name}.png"
        page.screenshot(explorer.box, path)
        assert 3_000 < path.stat().st_size < 300_000

    return taken


def loading(trained, *names: str) -> str:
    """The first cell: whatever the explorers are given."""
    lines = ["from xmr_course import explorers as widgets", "from xmr_lib import runs"]
    lines += [f"{name} = runs.load({str(vars(trained)[name].folder)!r})" for name in names]
    return "\n".join(lines)


def explorer(lab, name: str):
    return lab.explorer(1 + list(EXPLORERS).index(name))


def failures(run, after: int, count: int) -> list[int]:
    """The next captions for which another image comes first, by searching for one at a time."""
    data, found = run.report, []
    for caption in range(after + 1, data.n_captions):
        (first,) = run.search_images(data.captions[caption], 1)
        if first.index != data.image_of_caption[caption]:
            found.append(caption)
            if len(found) == count:
                return found
    raise AssertionError(f"{run.name} has only the failures {found}: train it less")


def test_a_typed_sentence_finds_what_the_library_finds(lab, trained):
    seen, data = explorer(lab, "sentence"), trained.rfe.report
    assert seen.value("sentence") == data.captions[0]
    sentence = "a small dog near a tree"
    found = find_images(trained.rfe, sentence, data)
    assert [hit.index for hit in found.hits] == [
        hit.index for hit in trained.rfe.search_images(sentence, 5)
    ]
    with seen.becomes(plot_found(found, data, "RFE")):
        seen.type("sentence", sentence)
    with seen.becomes(plot_found(find_images(trained.vsepp, sentence, data), data, "VSE++")):
        seen.choose("model", "VSE++")
    with seen.becomes(plot_found(find_images(trained.vsepp, sentence, data, 3), data, "VSE++")):
        seen.type("k", "3")
    seen.type("sentence", " ")
    seen.says("There are no words to search for: type a sentence.")
    with seen.becomes(plot_found(find_images(trained.vsepp, "a zebra", data, 3), data, "VSE++")):
        seen.type("sentence", "a zebra")
    seen.says("VSE++ never learnt: zebra.")


def test_next_failure_goes_to_the_next_wrong_answer(lab, trained, screenshot):
    seen, data = explorer(lab, "failure"), trained.rfe.report
    for caption in failures(trained.rfe, after=0, count=2):
        found = find_images(trained.rfe, data.captions[caption], data, 5, caption)
        with seen.becomes(plot_found(found, data, "RFE")):
            seen.press("next-failure")
        seen.says(f"Caption {caption + 1:,} of {data.n_captions:,}.")
        assert seen.value("sentence") == data.captions[caption]
    screenshot(seen, "retrieval")


def test_a_picture_finds_sentences(lab, trained):
    seen, data = explorer(lab, "picture"), trained.rfe.report
    with seen.becomes(plot_found(find_captions(trained.rfe, 0, data), data, "RFE")):
        seen.press("direction", "a picture finds sentences")
    with seen.becomes(plot_found(find_captions(trained.rfe, 7, data), data, "RFE")):
        seen.type("number", "8")
    other = trained.rfe.data.split("train").image_files[0]
    with seen.becomes(plot_found(find_captions(trained.rfe, other, data), data, "RFE")):
        seen.type("file", str(other))
    with seen.becomes(plot_found(find_captions(trained.rfe, 3, data), data, "RFE")):
        seen.type("file", data.image_files[3].name)
    assert seen.value("number") == "4"


def test_attention_follows_words_regions_and_sentences(lab, trained, screenshot):
    seen, data = explorer(lab, "attention"), trained.scan.report
    pair = look(trained.scan, 4, 0)
    with seen.becomes(plot_look(pair, "SCAN t-i AVG")):
        seen.type("image", "5")
    assert seen.options("caption") == list(data.captions_of(4))
    own = look(trained.scan, 4, "a red ball and a dog")
    with seen.becomes(plot_look(own, "SCAN t-i AVG")):
        seen.type("sentence", "a red ball and a dog")
    assert seen.buttons("word") == ["none", *own.words]
    with seen.becomes(plot_look(own, "SCAN t-i AVG", region=0)):
        seen.press("region", "1")
    with seen.becomes(plot_look(own, "SCAN t-i AVG", word=own.words.index("ball"))):
        seen.press("word", "ball")
    assert (seen.pressed("word"), seen.pressed("region")) == (["ball"], ["none"])
    last = look(trained.scan, 4, 4)
    with seen.becomes(plot_look(last, "SCAN t-i AVG")):
        seen.choose("caption", data.captions_of(4)[4])
    with seen.becomes(plot_look(last, "SCAN t-i AVG", word=last.words.index("sheep"))):
        seen.press("word", "sheep")
    screenshot(seen, "attention")


def test_trees_of_another_caption_and_without_one_of_them(lab, trained, screenshot):
    seen, items = explorer(lab, "tree"), tree_items(trained.smfea, captions=range(6))
    offered = seen.options("item")
    assert len(offered) == len(items)
    with seen.becomes(plot_item(items[3])):
        seen.choose("item", offered[3])
    screenshot(seen, "tree")
    with seen.becomes(plot_item(items[3], ["image", "caption"])):
        seen.press("tree-referral")
    wrong = [item for item in items if not item.success]
    with seen.becomes(plot_item(wrong[0], ["image", "caption"])):
        seen.press("kind", "failures")
    assert len(seen.options("item")) == len(wrong)


def test_sliders_rerank(lab, trained, screenshot):
    seen, library = explorer(lab, "rerank"), Reranking(trained.rfe)
    k1, k2, lam = Settings().k1, Settings().k2, Settings().lam
    with seen.becomes(library.picture(Settings(k1 - 1, k2, lam))):
        seen.slide("k1", -1)
    with seen.becomes(library.picture(Settings(k1 - 1, k2, round(lam + 0.05, 2)))):
        seen.slide("lambda", 1)
    changed = Settings(k1 - 1, k2, round(lam + 0.05, 2))
    with seen.becomes(library.picture(changed, 9, "captions")):
        seen.press("queries", "captions")
        seen.type("number", "10")
    screenshot(seen, "rerank")


def test_rows_of_a_table_beside_what_was_measured(lab, screenshot, monkeypatch):
    monkeypatch.setenv("XMR_FIGURES", str(PICTURES))  # where the measured tables are kept
    seen, choice = explorer(lab, "ablation"), Choice("rfe-6")
    assert seen.options("rows") == choice.all_rows
    screenshot(seen, "ablation")
    choice.rows = choice.all_rows[1:4:2]
    with seen.becomes(choice.picture()):
        seen.choose("rows", *choice.rows)
    choice.metric = "t2i_r1"
    with seen.becomes(choice.picture()):
        seen.choose("metric", metrics(choice.printed)[choice.metric])
    choice.table = "smfea-7"
    with seen.becomes(choice.picture()):
        seen.choose("table", paper.table("smfea-7").title)
    assert seen.options("rows") == choice.all_rows


def test_a_batch_on_a_circle_takes_steps(lab, screenshot):
    seen, batch = explorer(lab, "margin"), CircleBatch.spread(5)
    worst = batch.worst()
    batch.step()
    with seen.becomes(plot_batch(batch, *worst)):
        seen.press("step")
    screenshot(seen, "margin")
    batch.collapse()
    with seen.becomes(plot_batch(batch, *worst)):
        seen.press("collapse")
    batch = CircleBatch.spread(5)
    seen.press("reset")
    batch.margin = 0.25
    with seen.becomes(plot_batch(batch, *worst)):
        seen.slide("margin", 1)


PLACES = """
const [box] = arguments, at = e => e.getBoundingClientRect();
const picture = at(box.querySelector('.xmr-picture'));
const controls = at(box.firstElementChild);
const scrolls = [box, ...box.querySelectorAll('*')].filter(e => e.tagName != 'SELECT' && (
  (e.scrollHeight > e.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(e).overflowY)) ||
  (e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX))));
return {beside: picture.left >= controls.right, height: Math.max(picture.bottom, controls.bottom) -
  at(box).top, width: picture.width, scrolls: scrolls.map(e => e.className)};
"""


@pytest.mark.parametrize("name", ["sentence", "attention", "tree", "rerank", "ablation", "margin"])
def test_on_a_laptop_the_picture_is_beside_its_controls_and_nothing_scrolls(lab, page, name):
    seen = explorer(lab, name)
    places = page.script(PLACES, seen.box)
    print(name, places)
    assert places["beside"] and places["width"] > 400
    assert places["height"] < 650, "more than a window of 800 pixels shows of a notebook"
    assert not places["scrolls"]


def test_the_console_holds_no_error(lab, page):
    assert not [line for line in page.console() if line.startswith("SEVERE")]


def test_notebook_7_shows_it_too(lab, page, server, trained):
    server.write("seven.ipynb", ["widgets.retrieval_explorer(rfe)"])
    server.share_kernel("explorers.ipynb", "seven.ipynb")  # another one would take its time
    data = trained.rfe.report
    with page.tab():
        notebook = Notebook(page, server, "seven.ipynb", NOTEBOOK_7)
        notebook.run_all()
        seen = notebook.explorer(0)
        with seen.becomes(plot_found(find_images(trained.rfe, "a red ball", data), data, "RFE")):
            seen.type("sentence", "a red ball")


def test_a_notebook_without_a_kernel_shows_the_picture(page, server, trained):
    """As somebody's saved notebook: its widgets are known to no kernel here."""
    import nbformat

    bundle, metadata = attention_explorer(trained.scan)._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell("attention_explorer(scan)", execution_count=1)
    cell.outputs = [
        nbformat.v4.new_output("execute_result", bundle, metadata=metadata, execution_count=1)
    ]
    server.write("saved.ipynb", [cell])
    drawn = plot_look(look(trained.scan, 0), "SCAN t-i AVG")._repr_png_()
    with page.tab():
        notebook = Notebook(page, server, "saved.ipynb")

        def shown() -> bool:
            images = page.all("img", notebook.cell(0))
            return len(images) == 1 and picture_of(page, images[0]) == drawn

        page.wait(shown, "the picture of a saved explorer")
