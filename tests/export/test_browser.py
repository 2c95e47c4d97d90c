"""The page of `--format browser` in a real browser: headless Chromium, driven by Selenium, and a static server.

The browser comes from Debian's packages chromium and chromium-driver, Selenium from `pip install -e ".[browser]"`, and
onnxruntime-web from npm or from the folder in $SCT_WEB_RUNTIME. $SCT_SCREENSHOTS names a folder for screenshots.
"""

import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from sct_hf.data.voc import VOC_LABELS
from sct_hf.model.image_processing_sct import heatmap_overlay, open_image
from sct_hf.model.pipeline_sct import select_tags
from tests.export.tiny import PROFILES

pytestmark = pytest.mark.slow

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the export needs onnxruntime")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER, NPM = map(shutil.which, ("chromium", "chromedriver", "npm"))
RUNTIME = os.environ.get("SCT_WEB_RUNTIME", "")
if not (CHROMIUM and DRIVER):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)
if not (RUNTIME or NPM):
    pytest.skip("npm is not installed, and SCT_WEB_RUNTIME is not set", allow_module_level=True)

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SCT_TEST_DATA", ROOT.parent / "shared" / "data")) / "VOCdevkit" / "VOC2007"
SHIPPED = ROOT / "model_cards" / "sct-efficientnet-lite0-voc2007"
PATIENCE = 120  # seconds
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob:; object-src 'none'"


class Static(SimpleHTTPRequestHandler):
    """A static server with a strict policy and without the headers that shared memory needs."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a folder; its address."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Static, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def site(script: Callable[..., int], checkpoint: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint."""
    folder = tmp_path_factory.mktemp("sites") / "tiny"
    words = ["--format", "browser", "--calibration_images", images, "--web_runtime", RUNTIME]
    assert script("--model", checkpoint, "--output_dir", folder, *words) == 0
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    words = "headless=new no-sandbox disable-dev-shm-usage hide-scrollbars enable-unsafe-swiftshader".split()
    words += ["use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"]  # a camera that films a clock
    for word in (*words, f"user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


class Page:
    """A visit, seen as its user sees it."""

    def __init__(self, browser: Any, address: str, width: int = 1280, theme: str = "light") -> None:
        self.browser, self.address = browser, address
        size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        browser.get(address)
        self.until(lambda: self.at("#choose").is_displayed())

    def until(self, holds: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, PATIENCE, poll_frequency=0.05).until(lambda _: holds())

    def at(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def open(self, path: Path) -> None:
        """Choose a file, and wait until the page says how many tags it has."""
        self.browser.execute_script("document.getElementById('status').textContent = ''")
        self.at("#file").send_keys(str(path))
        self.until(lambda: self.at("#status").text.endswith("ms.") or self.at("#error").text)

    def run(self, body: str, *arguments: Any) -> Any:
        """Run code with the page's own modules; `give` takes its result."""
        names = ", ".join(f"a{place}" for place in range(len(arguments)))
        start = (
            f"const [{names}{', ' if names else ''}give] = arguments; import('./tagger.js').then(async (made) => {{"
        )
        end = "}).catch((error) => give(String(error)))"
        return self.browser.execute_async_script(f"{start} {body} {end}", *arguments)

    def tags(self) -> list[str]:
        return [name.text for name in self.all("#tags .name")]

    def keep(self, name: str) -> np.ndarray:
        content = self.browser.get_screenshot_as_png()
        if folder := os.environ.get("SCT_SCREENSHOTS"):
            (Path(folder) / name).write_bytes(content)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)

    def check_quiet(self) -> None:
        """Nothing failed, and nothing was asked but of the page's own folder."""
        assert [entry for entry in self.browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
        asked = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        sent = [one["params"] for one in asked if one["method"] == "Network.requestWillBeSent"]
        addresses = [one["request"]["url"] for one in sent if one["documentURL"].startswith(self.address)]
        assert len(addresses) > 5
        assert [one for one in addresses if not one.startswith((self.address, f"blob:{self.address}"))] == []


def kinds_of_images(folder: Path) -> dict[str, Path]:
    """An image of each kind that a browser and Pillow both read."""
    rng = np.random.default_rng(3)
    levels = np.clip(np.linspace(0, 200, 150)[None, :, None] + rng.integers(0, 56, (100, 150, 3)), 0, 255)
    image = Image.fromarray(levels.astype(np.uint8))
    made = {"rgb": image, "small": image.resize((20, 30)), "wide": image.resize((900, 65)), "grey": image.convert("L")}
    made |= {"palette": image.convert("P"), "clear": image.convert("RGBA"), "same": image.resize((64, 64))}
    made["clear"].putalpha(Image.fromarray(rng.integers(0, 256, (100, 150), dtype=np.uint8)))
    paths = {name: folder / f"{name}.png" for name in made}
    for name, path in paths.items():
        made[name].save(path)
    for turn in (3, 6, 7):
        exif = Image.Exif()
        exif[0x0112] = turn
        paths[f"turned {turn}"] = folder / f"{turn}.jpg"
        image.save(paths[f"turned {turn}"], quality=95, exif=exif)
    Image.fromarray(rng.integers(0, 65536, (90, 80), dtype=np.uint16)).save(folder / "deep.png")
    return paths | {"16 bits": folder / "deep.png"}


def test_pixels_are_pillows(site: Path, serve: Callable[[Path], str], browser: Any, tmp_path: Path) -> None:
    """Bit for bit, but where the two decoders differ: JPEG, and 16 bits, which each takes to 8 in its own way."""
    page = Page(browser, serve(site))
    for name, path in kinds_of_images(tmp_path).items():
        shutil.copy(path, site / "image")
        code = """const image = await made.readImage(await (await fetch('image', {cache: 'no-store'})).blob());
            give([image.width, image.height, [...made.resized(image, 64, 48)]]);"""
        width, height, pixels = page.run(code)
        upright = open_image(path)
        assert (width, height) == upright.size, name
        expected = np.asarray(upright.resize((64, 48), Image.Resampling.BILINEAR)).astype(int)
        apart = np.abs(np.array(pixels).reshape(expected.shape) - expected)
        assert apart.max() <= (1 if path.suffix == ".jpg" or name == "16 bits" else 0), name
    (site / "image").unlink()


def test_a_visit(site: Path, checkpoint: Path, serve: Callable[[Path], str], browser: Any, images: Path) -> None:
    tagger = pipeline("multi-label-image-classification", model=str(checkpoint), device="cpu")
    page = Page(browser, serve(site))
    assert "No image leaves it" in page.at("header").text
    assert page.at("#labels").text == "It knows 3 labels: dog, cat, dining table."
    page.keep("start.png")

    page.open(images / "4.png")
    profile = Select(page.at("#profile"))
    assert [option.text for option in profile.options] == list(PROFILES)
    assert profile.first_selected_option.text == "balanced"
    for name in PROFILES:
        profile.select_by_visible_text(name)
        assert page.tags() == [tag["label"] for tag in tagger(str(images / "4.png"), profile=name)]
    profile.select_by_visible_text("strict")
    page.at("summary").click()
    marks = {
        row.find_element(By.CSS_SELECTOR, ".name").text: row.find_elements(By.CSS_SELECTOR, ".mark")
        for row in page.all("li")
    }
    assert {name: len(found) for name, found in marks.items()} == {"dog": 1, "cat": 0, "dining table": 1}

    first, second = page.all("li button")[:2]
    first.send_keys(Keys.ENTER)  # by keyboard
    assert [row.get_attribute("aria-pressed") for row in page.all("li button")[:2]] == ["true", "false"]
    label = first.find_element(By.CSS_SELECTOR, ".name").text
    assert f"“{label}”" in page.at("#image").get_attribute("alt")
    second.click()
    assert [row.get_attribute("aria-pressed") for row in page.all("li button")[:2]] == ["false", "true"]
    second.click()
    assert page.at("#image").get_attribute("alt") == "The image to tag"

    (site / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    page.at("#file").send_keys(str(site / "broken.jpg"))
    page.until(lambda: page.at("#error").text.startswith("This file cannot be read as an image"))
    assert not page.at("#result").is_displayed()
    assert page.at("#error").get_attribute("role") == "alert"

    page.at("#camera").click()
    page.until(lambda: page.browser.execute_script("return document.getElementById('video').videoWidth"))
    page.keep("camera.png")
    page.at("#take").click()
    page.until(lambda: page.at("#status").text.endswith("ms."))
    assert not page.at("#viewfinder").is_displayed()
    assert page.at("#image").size["width"] > 100

    drop = """const done = arguments[arguments.length - 1];
        fetch('icon.svg').then((answer) => answer.blob()).then((blob) => {
            const data = new DataTransfer();
            data.items.add(new File([blob], 'a.svg', {type: 'image/png'}));
            const event = new ClipboardEvent(arguments[0], {clipboardData: data});
            const drag = new DragEvent(arguments[0], {dataTransfer: data, cancelable: true});
            document.dispatchEvent(arguments[0] === 'paste' ? event : drag);
            done();
        });"""
    for kind in ("paste", "drop"):  # an SVG named PNG cannot be read, which shows that it was opened
        page.open(images / "0.png")
        assert not page.at("#error").is_displayed()
        browser.execute_async_script(drop, kind)
        page.until(lambda: page.at("#error").text.startswith("This file cannot be read as an image"))
    page.check_quiet()


def test_heatmaps_are_drawn_as_in_python(site: Path, serve: Callable[[Path], str], browser: Any) -> None:
    page = Page(browser, serve(site))
    weights = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    weights = (weights - weights.min()) / (weights.max() - weights.min())
    code = """const { drawHeatmap } = await import('./heatmap.js');
        const canvas = document.createElement('canvas');
        drawHeatmap(canvas, new Float32Array(a0), 5, 7, 120, 80);
        give([...canvas.getContext('2d').getImageData(0, 0, 120, 80).data]);"""
    drawn = np.array(page.run(code, weights.ravel().tolist()), dtype=float).reshape(80, 120, 4)
    share = drawn[..., 3:] / 255
    expected = np.asarray(heatmap_overlay(Image.new("RGB", (120, 80), (90, 90, 90)), weights)).astype(float)
    assert np.abs(share * drawn[..., :3] + (1 - share) * 90 - expected).max() < 4  # levels, for rounded opacity


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_it_fits_the_screen_and_can_be_read(
    site: Path, serve: Callable[[Path], str], browser: Any, width: int, theme: str
) -> None:
    page = Page(browser, serve(site), width, theme)
    page.open(ROOT / "docs" / "images" / "cat_and_person.jpg")
    page.at("summary").click()
    page.at("li button").click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert all(button.size["height"] >= 44 for button in page.all("#buttons button, li button"))  # a finger's width
    style = "const {backgroundColor, color} = getComputedStyle(document.body); return [backgroundColor, color]"
    bright = [sum(map(int, text[4:-1].split(","))) / 3 for text in browser.execute_script(style)]
    assert (bright[0] < bright[1]) == (theme == "dark")
    assert abs(bright[0] - bright[1]) > 150
    page.keep(f"tiny-{width}-{theme}.png")


def test_a_missing_file_is_said(site: Path, serve: Callable[[Path], str], browser: Any, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "onnx")
    browser.get(serve(tmp_path / "site"))
    error = browser.find_element(By.ID, "error")
    WebDriverWait(browser, PATIENCE).until(lambda _: error.text)
    assert error.text == "The model cannot be loaded. The file ./onnx/model_quantized.onnx is missing (404)."


@pytest.mark.skipif(not DATA.is_dir(), reason="VOC2007 is not in SCT_TEST_DATA")
def test_twenty_images_are_scored_as_in_python(
    script: Callable[..., int], serve: Callable[[Path], str], browser: Any, tmp_path: Path
) -> None:
    """The shipped checkpoint: the page against its graph in Python's ONNX Runtime, and against the model."""
    lists = DATA / "ImageSets" / "Main"
    names = {split: (lists / f"{split}.txt").read_text().split() for split in ("train", "val")}
    files = {
        split: [path for name in names[split] if (path := DATA / "JPEGImages" / f"{name}.jpg").is_file()]
        for split in names
    }
    words = ["--format", "browser", "--web_runtime", RUNTIME, "--calibration_images", *files["train"][:100]]
    assert script("--model", SHIPPED, "--output_dir", tmp_path / "site", *words) == 0
    graph = tmp_path / "site" / "onnx" / "model_quantized.onnx"
    assert graph.stat().st_size <= 8_000_000

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options)
    tagger = pipeline("multi-label-image-classification", model=str(SHIPPED), device="cpu")
    pillow = AutoImageProcessor.from_pretrained(SHIPPED, backend="pil")
    least = np.array(tagger.thresholds(), dtype=np.float32)
    page = Page(browser, serve(tmp_path / "site"))
    for place, path in enumerate(files["val"][:20]):
        shutil.copy(path, tmp_path / "site" / "image")
        code = """window.tagger ??= await made.Tagger.load('./');
            const image = await made.readImage(await (await fetch('image', {cache: 'no-store'})).blob());
            const { scores, maps } = await tagger.tag(image);
            give([[...scores], maps.map((map) => [...map])]);"""
        scores, maps = map(np.array, page.run(code))
        pixels = pillow(images=open_image(path), return_tensors="np")["pixel_values"]
        _, (expected,), (expected_maps,) = session.run(None, {"pixel_values": pixels})
        np.testing.assert_allclose(scores, expected, rtol=0, atol=0.01)
        np.testing.assert_allclose(maps, expected_maps.reshape(len(maps), -1), rtol=0, atol=0.1)
        with torch.no_grad():
            own = tagger(str(path), threshold=0.0)
        whole = np.array([{tag["label"]: tag["score"] for tag in own}[label] for label in VOC_LABELS])
        np.testing.assert_allclose(scores, whole, rtol=0, atol=0.05)
        page.open(path)
        wanted = [VOC_LABELS[label] for label in select_tags(whole, least)]
        assert sorted(page.tags()) == sorted(wanted)
        if place == 0:
            page.at("li button").click()
            page.keep("voc.png")
    page.check_quiet()
