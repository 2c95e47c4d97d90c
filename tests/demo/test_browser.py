"""The page in a real browser: headless Chromium, driven by Selenium, and scripts/demo.py in a process of its own.

The browser comes from Debian's packages chromium and chromium-driver, Selenium from `pip install -e ".[browser]"`.
$SCT_SCREENSHOTS names a folder for screenshots, if they are to be looked at.
"""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image

from tests.demo.tiny import LABELS, THRESHOLDS

pytestmark = pytest.mark.slow

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"
PATIENCE = 120  # seconds
WIDTH, HEIGHT = 1280, 1000


@pytest.fixture(scope="module")
def serve(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Start scripts/demo.py for a checkpoint; its address."""
    started: list[subprocess.Popen[str]] = []
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1]), "PYTHONUNBUFFERED": "1"}
    work = tmp_path_factory.mktemp("work")

    def start(kind: str) -> str:
        words = [sys.executable, str(SCRIPT), "--model", folders[kind], "--device", "cpu"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(words, env=environment, cwd=work, **pipes)
        started.append(process)
        said = []
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                return address[0]
        raise AssertionError("".join(said))

    yield start
    for process in started:
        process.terminate()
        process.communicate()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.add_argument(f"--window-size={WIDTH},{HEIGHT}")
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """A visit, seen as its user sees it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get(address)
        self.until(lambda: self.all("input[type=file]"))

    def until(self, holds: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, PATIENCE, poll_frequency=0.1).until(lambda _: holds())

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def read(self, script: str) -> Any:
        return self.browser.execute_script(f"return {script}")

    def upload(self, path: str) -> None:
        self.all("input[type=file]")[0].send_keys(path)

    @property
    def bars(self) -> dict[str, float]:
        """Width of each tag's bar as a share of its track, by label."""
        script = """[...document.querySelectorAll('.confidence-set')].map(row => [row.querySelector('dt').innerText,
            row.querySelector('meter').offsetWidth / row.querySelector('.inner-wrap').offsetWidth])"""
        return dict(self.read(script))

    @property
    def heatmap(self) -> str | None:
        """Address of the heatmap that is shown."""
        return self.read("""[...document.querySelectorAll('.block')].filter(block => /^Where/.test(block.innerText))
            .map(block => block.querySelector('img')).filter(image => image && image.complete && image.naturalWidth)
            .map(image => image.src)[0] ?? null""")

    def says(self, text: str) -> bool:
        return text in self.all("body")[0].text

    def slider(self, label: str) -> Any:
        return self.browser.find_element(By.XPATH, f"//input[@type='range' and contains(@aria-label, '{label}')]")

    def screenshot(self, name: str) -> np.ndarray:
        folder = os.environ.get("SCT_SCREENSHOTS")
        path = Path(folder or ".") / name
        content = self.browser.get_screenshot_as_png()
        if folder:
            path.write_bytes(content)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture(scope="module")
def photograph() -> str:
    """Of Grace Hopper, in the public domain; a file of matplotlib's."""
    return str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def test_a_visit(
    serve: Callable[[str], str], browser: Any, photograph: str, broken: str, taggers: dict[str, Any]
) -> None:
    tagger = taggers["label"]
    wanted = {tag["label"]: tag["score"] for tag in tagger(photograph)}
    every = {tag["label"]: tag["score"] for tag in tagger(photograph, threshold=0.0)}
    page = Page(browser, serve("label"))

    page.upload(photograph)
    page.until(lambda: page.bars)
    assert page.bars == pytest.approx(wanted, abs=0.02)
    first = page.until(lambda: page.heatmap)
    assert page.says(f"Where “{next(iter(wanted))}” was seen")

    whole = page.slider("Threshold of all labels")
    whole.send_keys(Keys.HOME)
    page.until(lambda: len(page.bars) == len(LABELS))
    assert list(page.bars) == list(every)
    assert page.bars == pytest.approx(every, abs=0.02)

    other = list(every)[-1]
    page.browser.find_element(By.XPATH, f"//button[.//dt[normalize-space()='{other}']]").click()
    page.until(lambda: page.heatmap not in (None, first))
    page.until(lambda: page.says(f"Where “{other}” was seen"))
    marked = page.read("""[...document.querySelectorAll('.confidence-set')]
        .filter(row => getComputedStyle(row).outlineWidth === '2px').map(row => row.querySelector('dt').innerText)""")
    assert marked == [other]
    pixels = page.screenshot("visit.png").astype(int)
    assert (np.abs(pixels[..., 0] - pixels[..., 2]) > 60).mean() > 0.01  # a heatmap's and a bar's orange
    assert np.median(pixels) > 200  # on a light page

    page.browser.find_element(By.XPATH, "//button[contains(., 'Threshold of each label')]").click()
    one = page.until(lambda: page.slider(f" {other}"))
    assert float(one.get_attribute("value")) == 0  # it followed the one for all
    one.send_keys(Keys.END)
    page.until(lambda: len(page.bars) == len(LABELS) - 1)
    assert other not in page.bars
    page.browser.find_element(By.XPATH, "//button[normalize-space()='Reset']").click()
    page.until(lambda: page.bars.keys() == wanted.keys())
    values = [float(page.slider(f" {name}").get_attribute("value")) for name in LABELS]
    assert values == pytest.approx(THRESHOLDS)

    words = page.browser.find_element(By.XPATH, "//textarea")
    words.send_keys("wild boar, fire engine, wild boar")
    page.browser.find_element(By.XPATH, "//button[normalize-space()='Tag with these labels']").click()
    page.until(lambda: page.says("“wild boar” appears twice. Give each label once."))
    assert page.bars.keys() == wanted.keys()
    for _ in range(len(", wild boar")):
        words.send_keys(Keys.BACKSPACE)
    words.send_keys(Keys.ENTER)
    found = tagger(photograph, labels=["wild boar", "fire engine"], threshold=0.0)
    new = {tag["label"]: tag["score"] for tag in found}
    page.until(lambda: page.says("of 2 labels reach their threshold."))
    page.slider("Threshold of all labels").send_keys(Keys.HOME)
    page.until(lambda: page.bars.keys() == new.keys())
    assert page.bars == pytest.approx(new, abs=0.02)
    page.screenshot("labels.png")

    page.upload(broken)
    page.until(lambda: page.says("This file cannot be read as an image"))
    page.until(lambda: not page.bars and page.heatmap is None)
    assert [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_labels_cannot_be_typed_where_the_checkpoint_takes_none(serve: Callable[[str], str], browser: Any) -> None:
    page = Page(browser, serve("linear"))
    assert not page.says("Other labels")
    assert not page.browser.find_elements(By.XPATH, "//button[normalize-space()='Tag with these labels']")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_tags_are_above_the_heatmap_and_can_be_read(
    serve: Callable[[str], str], browser: Any, photograph: str, theme: str
) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page = Page(browser, f"{serve('label')}/?__theme={theme}")
    page.upload(photograph)
    page.until(lambda: page.bars and page.heatmap)
    tags, heatmap = page.read("""[document.querySelector('.confidence-set'), [...document.querySelectorAll('.block')]
        .find(block => /^Where/.test(block.innerText))].map(item => item.getBoundingClientRect().top)""")
    assert tags < heatmap
    assert page.read("document.documentElement.scrollWidth") <= size["width"]
    letters, track = page.read("""['dt', '.inner-wrap'].map(part => document.querySelector(`.confidence-set ${part}`))
        .map((item, place) => getComputedStyle(item)[['color', 'backgroundImage'][place]])""")
    bright = [
        sum(map(int, re.findall(r"\d+", re.search(r"rgb\(([^)]*)\)", text)[1]))) / 3 for text in (letters, track)
    ]
    assert abs(bright[0] - bright[1]) > 100
    page.screenshot(f"phone-{theme}.png")
