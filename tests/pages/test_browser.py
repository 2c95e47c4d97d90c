"""Pages in a real browser: headless Chromium, driven by Selenium.

The browser comes from Debian's packages chromium and chromium-driver, Selenium from `pip install -e ".[browser]"`.
$SCT_SCREENSHOTS names a folder for screenshots, if they are to be looked at.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sct_hf import build_model, encode_labels
from sct_hf.data import LabelledImages
from sct_hf.data.image_sources import ImageFiles
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training.compare import compare, write_comparison
from sct_hf.training.report import Predictions, write_scores
from sct_hf.training.report_page import write_report_page
from tests.hostile import HOSTILE_NAMES

pytestmark = pytest.mark.slow

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

PATIENCE = 60  # seconds
NAMES = ["</script><script>alert(1)</script>", "$$x$$", *HOSTILE_NAMES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report and a comparison of random scores of labels with hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    generator = np.random.default_rng(0)
    files = [folder / f"{number}.png" for number in range(30)]
    for file in files:
        Image.fromarray(generator.integers(0, 256, (300, 500, 3), dtype=np.uint8)).save(file)
    targets = (generator.random((30, len(NAMES))) < 0.3).astype(np.int8)
    ids = [f"{NAMES[row % len(NAMES)]} {row}" for row in range(30)]
    text = encode_labels(NAMES, "random:12")
    model = build_model("test_resnet", NAMES, image_size=64, label_vectors=text, scorer="label", hidden_size=32)
    images = LabelledImages(ImageFiles(files), targets, NAMES, ids, "<b>data</b>", "val")
    for name in ("one", "two"):
        scores = generator.random(targets.shape).astype(np.float32)
        predictions = Predictions(ids, scores, targets, NAMES)
        metrics = multilabel_metrics(scores, targets, label_names=NAMES) | {"dataset": "<b>data</b>", "split": "val"}
        write_scores(folder / name, metrics=metrics, predictions=predictions)
    record = {"command": ["sct-hf"], "arguments": {"seed": 1}, "versions": {"torch": "2"}}
    history = [{"epoch": epoch, "step": epoch, "loss": 2.0 / epoch, "lr": 0.1} for epoch in range(1, 9)]
    write_report_page(folder, metrics, predictions, model, record, images, history, ["a text"])
    write_comparison(compare(folder / "one", folder / "two"), folder / "compare.html")
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def visit(browser: Any) -> Callable[..., Any]:
    """Open a page as a screen of some width shows it."""

    def open_page(path: Path, width: int = 1280, theme: str = "light") -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        browser.get(path.as_uri())
        if browser.find_elements(By.CSS_SELECTOR, ".plot"):
            ready = "return [...document.querySelectorAll('.plot')].every(plot => plot.firstElementChild)"
            WebDriverWait(browser, PATIENCE).until(lambda _: browser.execute_script(ready))
        return browser

    return open_page


def keep(browser: Any, name: str) -> None:
    if folder := os.environ.get("SCT_SCREENSHOTS"):
        (Path(folder) / name).write_bytes(browser.get_screenshot_as_png())


def check_quiet(browser: Any, path: Path) -> None:
    """Nothing failed, nothing was asked of a network, and no name ran as a script."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one["params"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    addresses = [one["request"]["url"] for one in sent if one["documentURL"] == path.as_uri()]  # not the browser's own
    assert [one for one in addresses if not one.startswith("data:")] == [path.as_uri()]
    assert (
        browser.find_elements(By.CSS_SELECTOR, "main script:not([type]), [onerror], [onmouseover], img[src=x]") == []
    )


def column(browser: Any, table: str, place: int) -> list[str]:
    script = f"return [...document.querySelectorAll('{table} tbody tr')].map(row => row.cells[{place}].innerText)"
    return browser.execute_script(script)


def test_a_report_sorts_filters_draws_and_opens_images(folder: Path, visit: Callable[..., Any]) -> None:
    path = folder / "report.html"
    browser = visit(path)
    heading = browser.find_element(By.XPATH, "//h2[.='Labels']")
    table = browser.find_elements(By.XPATH, "//h2[.='Labels']/following-sibling::*//table")[0]
    assert heading.get_attribute("id")
    browser.execute_script("arguments[0].id = 'labels'", table)
    titles = [cell.text.split("\n")[0].rstrip(" ↕") for cell in table.find_elements(By.CSS_SELECTOR, "thead th")]
    place = titles.index("AP")
    before = column(browser, "#labels", 0)
    assert len(before) == len(NAMES)

    button = table.find_elements(By.CSS_SELECTOR, "thead button")[place]
    for sign in (-1, 1):
        button.click()
        values = [float(text) for text in column(browser, "#labels", place) if text != "–"]
        assert values == sorted(values, key=lambda value: sign * value)
        assert len({*values}) > 5
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    table.find_elements(By.CSS_SELECTOR, "thead button")[0].send_keys(Keys.ENTER)  # by keyboard too
    assert sorted(column(browser, "#labels", 0)) == sorted(before)
    assert column(browser, "#labels", 0) != before

    field = table.find_element(By.XPATH, "ancestor::div[@class='filtered']//input")
    field.send_keys("<SCRIPT> alert")
    shown = [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
    wanted = [name for name in NAMES if "<script>" in name and "alert" in name]
    assert len(shown) == len(wanted) == 2
    assert table.find_element(By.XPATH, "ancestor::div[@class='filtered']//output").text == f"2 of {len(NAMES)}"

    plots = browser.find_elements(By.CSS_SELECTOR, ".plot")
    assert len(plots) == 4  # loss, learning rate, precision and recall, reliability
    assert all(plot.size["height"] >= 250 for plot in plots)
    select = Select(browser.find_element(By.CSS_SELECTOR, "select"))
    assert [option.text for option in select.options][1:3] == NAMES[:2]
    select.select_by_index(1)
    legend = browser.find_elements(By.XPATH, "//h3[.='Precision and recall']/following-sibling::ul/li")
    assert [item.text for item in legend] == ["all labels together", NAMES[0], "at its threshold"]

    picture = browser.find_elements(By.CSS_SELECTOR, "article .picture")[1]
    browser.execute_script("arguments[0].scrollIntoView()", picture)
    picture.click()
    dialog = browser.find_element(By.CSS_SELECTOR, "dialog")
    assert dialog.is_displayed()
    large = dialog.find_element(By.TAG_NAME, "img")
    assert large.size["width"] > 2 * picture.size["width"]
    assert large.get_attribute("alt").startswith("heatmap of ")
    keep(browser, "dialog.png")
    dialog.find_element(By.TAG_NAME, "button").click()
    assert not dialog.is_displayed()
    check_quiet(browser, path)


@pytest.mark.parametrize("name", ["report.html", "compare.html"])
@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light"), (390, "dark")])
def test_a_page_fits_the_screen_and_can_be_read(
    folder: Path, visit: Callable[..., Any], name: str, width: int, theme: str
) -> None:
    browser = visit(folder / name, width, theme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground, ink = browser.execute_script(
        "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    )
    bright = [sum(map(int, text[4:-1].split(","))) / 3 for text in (ground, ink)]
    assert (bright[0] < bright[1]) == (theme == "dark")
    assert abs(bright[0] - bright[1]) > 150
    keep(browser, f"{name.removesuffix('.html')}-{width}-{theme}.png")
    check_quiet(browser, folder / name)
