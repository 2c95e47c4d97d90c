import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from filelock import FileLock
from PIL import Image
from torch.utils.data import DataLoader

from sct_hf.data import LabelledImages, eval_transform, load_data
from sct_hf.data import feature_cache as module
from sct_hf.data.feature_cache import CachedDataset, cached_feature_maps, collate_cached, view_transforms
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.training.models import TaggingModel
from tests.model.tiny import tiny_config

NAMES = ["a", "b"]
LOOK = {"image_size": [32, 64], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(7):
        Image.fromarray(rng.integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(json.dumps({"image": f"{number}.png", "labels": [NAMES[number % 2]]}))
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return load_data("jsonl", "train", data_dir=tmp_path)


@pytest.fixture
def model() -> TaggingModel:
    torch.manual_seed(0)
    look = {"image_size": LOOK["image_size"], "image_mean": LOOK["mean"], "image_std": LOOK["std"]}
    return build_model("test_resnet", NAMES, head="linear", **look)


@pytest.fixture
def maps_of(images: LabelledImages, tmp_path: Path) -> Callable[..., np.ndarray]:
    def maps_of(model: TaggingModel, views: int = 4, *, images: LabelledImages = images) -> np.ndarray:
        options = {"cache_dir": tmp_path / "cache", "accelerator": Accelerator(), "batch_size": 8}
        return cached_feature_maps(model, images, views=views, **options)

    return maps_of


def test_maps_equal_direct_computation(
    model: TaggingModel, images: LabelledImages, maps_of: Callable[..., np.ndarray]
) -> None:
    model.train()
    maps = maps_of(model)
    assert model.backbone.training
    assert (maps.dtype, maps.shape[:2]) == (np.float16, (7, 4))
    model.eval()
    plain = eval_transform(**LOOK)
    for row in range(len(images)):
        image = images.image(row)
        for view, pixels in enumerate([plain(image), plain(image).flip(-1)]):
            with torch.no_grad():
                direct = model.backbone(pixels[None])[0]  # (D0, H', W')
            torch.testing.assert_close(torch.tensor(maps[row, view]).float(), direct, rtol=2e-3, atol=2e-3)
        assert not np.array_equal(maps[row, 2], maps[row, 3])


def test_views_are_mild_crops_of_the_full_size() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    crop = view_transforms(3, **LOOK)[2]
    spans = []
    for seed in range(40):
        torch.manual_seed(seed)
        row = crop(ramp)[0].mean(0) * LOOK["std"][0] + LOOK["mean"][0]
        assert row.shape == (64,)
        spans.append(float(row[-1] - row[0]) * 255 / 200)
    assert 0.3 < min(map(abs, spans)) < max(map(abs, spans)) <= 1
    assert {span > 0 for span in spans} == {True, False}


def test_computed_once_and_again_when_something_changes(
    model: TaggingModel,
    images: LabelledImages,
    maps_of: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    computed = []
    compute = module._compute
    monkeypatch.setattr(module, "_compute", lambda *args: (computed.append(1), compute(*args)))
    first = np.array(maps_of(model))
    model.head.classifier.weight.data += 1  # no part of the backbone
    np.testing.assert_array_equal(maps_of(model), first)
    assert len(computed) == 1
    maps_of(model, views=1)
    maps_of(model, images=images.select([0, 2]))
    model.config.image_mean = [0.5, 0.5, 0.5]
    assert not np.array_equal(maps_of(model), first)
    assert len(computed) == 4
    next(model.backbone.parameters()).data += 0.5
    maps_of(model)
    assert len(computed) == 5
    os.utime(tmp_path / "3.png", ns=(1, 1))
    maps_of(model)
    assert len(computed) == 6
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_broken_off_computation_leaves_nothing(
    model: TaggingModel, maps_of: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    next(model.backbone.parameters()).data.fill_(1e30)
    with pytest.raises(InputError, match="do not fit float16"):
        maps_of(model)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def foreign(content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((7, 1, 96, 1, 2), np.float16))
    return file.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[:-100],
    "empty": lambda content: b"",
    "longer": lambda content: content + bytes(32),
    "a bit flipped": flip,
    "a bit of the digest flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "zeros under a whole header": lambda content: content[:128] + bytes(len(content) - 160) + content[-32:],
    "zeros": lambda content: bytes(len(content)),
    "another header": lambda content: content.replace(b"(7, 1,", b"(1, 7,", 1),
    "broken header": lambda content: content.replace(b"'descr'", b"'descr]", 1),
    "foreign": foreign,
    "text": lambda content: b"no maps " * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_maps_are_computed_again(
    model: TaggingModel, maps_of: Callable[..., np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture, damage: str
) -> None:
    wanted = np.array(maps_of(model, views=1))
    (path,) = files_of(tmp_path / "cache")
    whole = path.read_bytes()
    assert maps_of(model, views=1) is not None
    assert "damaged" not in capsys.readouterr().out
    path.write_bytes(DAMAGES[damage](whole))
    assert path.read_bytes() != whole
    np.testing.assert_array_equal(maps_of(model, views=1), wanted)
    told = [line for line in capsys.readouterr().out.splitlines() if "damaged" in line]
    assert told == [f"{path} is damaged: its maps are computed again"]
    assert path.read_bytes() == whole


def test_maps_of_another_key_are_not_taken(
    model: TaggingModel, maps_of: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    first = np.array(maps_of(model, views=1))
    (path,) = files_of(tmp_path / "cache")
    model.config.image_mean = [0.5, 0.5, 0.5]
    other = np.array(maps_of(model, views=1))
    (second,) = set(files_of(tmp_path / "cache")) - {path}
    assert not np.array_equal(first, other)
    second.write_bytes(path.read_bytes())
    np.testing.assert_array_equal(maps_of(model, views=1), other)


def test_a_computation_that_was_killed_leaves_nothing_for_good(
    model: TaggingModel, maps_of: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    killed, running = folder / "0123.partial", folder / "4567.partial"
    killed.write_bytes(bytes(1000))
    running.write_bytes(bytes(1000))
    with FileLock(running.with_suffix(".lock")):
        maps_of(model, views=1)
        assert {path.suffix for path in files_of(folder)} == {".npy", ".partial"}
        assert (killed.exists(), running.exists()) == (False, True)
    maps_of(model, views=1)
    assert {path.suffix for path in files_of(folder)} == {".npy"}


def test_a_cache_folder_that_is_none(model: TaggingModel, maps_of: Callable[..., np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"cache_dir is .*cache', which cannot be made a folder \(File exists\)"):
        maps_of(model)
    assert (tmp_path / "cache").read_text() == "a file"


def test_maps_that_are_a_folder(model: TaggingModel, maps_of: Callable[..., np.ndarray], tmp_path: Path) -> None:
    maps_of(model, views=1)
    (path,) = files_of(tmp_path / "cache")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"cache_dir holds .*npy', which cannot be read .*: remove it"):
        maps_of(model, views=1)


def test_batches_are_rows_of_the_drawn_views() -> None:
    maps = np.arange(6 * 3 * 2, dtype=np.float16).reshape(6, 3, 2, 1, 1)  # value: 6·image + 2·view + channel
    targets = np.eye(6, 2, dtype=np.float32)[:4]
    data = CachedDataset(maps, np.array([5, 0, 3, 1]), targets, views=3, seed=7)
    seen = np.zeros((4, 3), dtype=int)
    for epoch in range(60):
        data.set_epoch(epoch)
        batches = list(DataLoader(data, batch_size=3, collate_fn=collate_cached))
        assert [len(batch["index"]) for batch in batches] == [3, 1]
        features = torch.cat([batch["backbone_features"] for batch in batches])
        assert features.dtype == torch.float32
        images, views = features[:, 0, 0, 0].long() // 6, features[:, 0, 0, 0].long() % 6 // 2
        assert images.tolist() == [5, 0, 3, 1]
        assert torch.equal(torch.cat([batch["labels"] for batch in batches]), torch.from_numpy(targets))
        assert torch.equal(data[2]["backbone_features"], features[2])
        seen[np.arange(4), views.numpy()] += 1
    assert seen.min() >= 8  # of 20 expected
    one_view = CachedDataset(maps, np.arange(6), np.zeros((6, 2), np.float32), views=1)
    assert one_view[4]["backbone_features"][0, 0, 0] == 24


def test_a_repeated_image_shows_its_other_views() -> None:
    maps = np.broadcast_to(np.arange(4, dtype=np.float16)[None, :, None, None, None], (5, 4, 1, 1, 1))
    data = CachedDataset(maps, np.arange(5), np.zeros((5, 2), np.float32), views=4, seed=1)
    batch = data.__getitems__([3, (3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (2, 1)])
    plain, *repeats = batch["backbone_features"].flatten()[:6].tolist()
    assert repeats[0] == plain == repeats[4]
    assert sorted(repeats[:4]) == [0, 1, 2, 3]
    assert batch["index"].tolist() == [3, 3, 3, 3, 3, 3, 2]
    evaluation = CachedDataset(maps, np.arange(5), np.zeros((5, 2), np.float32), views=1)
    assert evaluation[1, 3]["backbone_features"].item() == 0


def test_views_depend_on_seed_epoch_and_index_alone() -> None:
    maps = np.broadcast_to(np.arange(8, dtype=np.float16)[None, :, None, None, None], (50, 8, 1, 1, 1))

    def views(seed: int, epoch: int) -> list[float]:
        data = CachedDataset(maps, np.arange(50), np.zeros((50, 2), np.float32), views=8, seed=seed)
        data.set_epoch(epoch)
        return data.__getitems__(list(range(50)))["backbone_features"].flatten().tolist()

    assert views(1, 2) == views(1, 2)
    assert views(1, 2) != views(1, 3) != views(2, 3)


def test_one_and_two_levels_have_maps_of_their_own(maps_of: Callable[..., np.ndarray]) -> None:
    one, two = (SCTForMultiLabelClassification(tiny_config(feature_levels=levels)).eval() for levels in (1, 2))
    two.backbone.load_state_dict(one.backbone.state_dict())  # the weights alone do not tell them apart
    assert maps_of(one).shape[2] == one.backbone.num_features
    assert maps_of(two).shape[2] == two.backbone.map_features
