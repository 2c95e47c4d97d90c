"""Two levels of features: the map that carries both, and the semantic map at the finer one."""

import math
import re
from collections.abc import Callable

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf import SCTForMultiLabelClassification
from sct_hf.model.backbone_sct import TimmBackbone, join_levels, split_levels
from sct_hf.model.layers_sct import TextScores
from tests.model.conformance import assert_same_after_loading
from tests.model.tiny import tiny_config

Make = Callable[..., SCTForMultiLabelClassification]
BACKBONES = ("test_efficientnet", "test_resnet", "test_convnext", "swin_tiny_patch4_window7_224")


@given(
    sizes=st.tuples(*(st.integers(1, 3) for _ in range(5))),
    seed=st.integers(0, 2**31),
)
def test_joined_levels_come_apart_again(sizes: tuple[int, ...], seed: int) -> None:
    batch, width, fine_width, height, across = sizes
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, width, height, across, generator=generator)
    fine = torch.randn(batch, fine_width, 2 * height, 2 * across, generator=generator)
    joined = join_levels(features, fine)
    assert joined.shape == (batch, width + 4 * fine_width, height, across)
    again, fine_again = split_levels(joined, width)
    assert torch.equal(again, features)
    assert torch.equal(fine_again, fine)


def test_a_map_of_one_level_has_no_finer_one() -> None:
    features = torch.randn(1, 5, 2, 2)
    assert split_levels(features, 5)[0] is features
    assert split_levels(features, 5)[1] is None


@pytest.mark.parametrize("name", BACKBONES)
def test_both_levels_are_those_of_timm(name: str) -> None:
    one, two = (TimmBackbone(tiny_config(backbone=name, feature_levels=levels)).eval() for levels in (1, 2))
    two.load_state_dict(one.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    features, fine = split_levels(two(pixels), two.num_features)
    torch.testing.assert_close(features, one(pixels))

    sized = {"img_size": 64} if "swin" in name else {}
    timms = timm.create_model(name, features_only=True, out_indices=(-2,), **sized)
    place = "model." if any(key.startswith("model.") for key in timms.state_dict()) else ""
    held = {place + key: value for key, value in one.timm_model.state_dict().items()}
    flat = re.compile(r"^(stem|stages|layers)\.")  # as timm names modules of a list whose outputs it collects
    held |= {flat.sub(r"\1_", key): value for key, value in held.items()}
    missing, _ = timms.load_state_dict(held, strict=False)
    assert not missing
    expected = timms.eval()(pixels)[0]
    expected = expected.permute(0, 3, 1, 2) if expected.shape[1] != two.fine_features else expected
    torch.testing.assert_close(fine, expected)


@pytest.mark.parametrize("size", [(65, 97), (63, 64)])
def test_odd_images_fit(size: tuple[int, int]) -> None:
    backbone = TimmBackbone(tiny_config(feature_levels=2, image_size=list(size))).eval()
    features, fine = split_levels(backbone(torch.randn(1, 3, *size)), backbone.num_features)
    assert fine is not None
    assert fine.shape[-2:] == (2 * features.shape[-2], 2 * features.shape[-1])


@pytest.mark.parametrize("name", ["test_vit", "deit_tiny_distilled_patch16_224"])
def test_a_backbone_of_one_stride_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"feature_levels=2 .* backbone='{name}'.* give 1 .*, or a backbone such as"):
        TimmBackbone(tiny_config(backbone=name, feature_levels=2))


# The semantic map at the finer level


def at(grid: list[list[float]], row: float, column: float) -> float:
    """Bilinear interpolation, with the border repeated."""
    rows, columns = len(grid), len(grid[0])
    row, column = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
    top, left = int(row), int(column)
    below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    down, across = row - top, column - left
    upper = grid[top][left] * (1 - across) + grid[top][right] * across
    return upper * (1 - down) + (grid[below][left] * (1 - across) + grid[below][right] * across) * down


def finer_scores(model: SCTForMultiLabelClassification, fine: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """w·GELU(conv(norm(f))) place by place, (B, C, h, w) for f (B, D_f, h, w), w (C, 64) and its biases (C,)."""
    conv, (batch, _, height, width) = model.sct.fine_map.conv, fine.shape
    mean, variance = fine.mean(1, keepdim=True), fine.var(1, keepdim=True, unbiased=False)
    normed = torch.nn.functional.pad((fine - mean) / (variance + 1e-5).sqrt(), (1, 1, 1, 1))
    scores = fine.new_empty(batch, len(weights), height, width)
    for row in range(height):
        for column in range(width):
            window = normed[:, :, row : row + 3, column : column + 3].flatten(1)  # (B, 9·D_f)
            hidden = window @ conv.weight.flatten(1).T + conv.bias  # (B, 64)
            hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
            scores[:, :, row, column] = hidden @ weights.T + biases
    return scores


def vectors(model: SCTForMultiLabelClassification, scores: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """The vector and the bias of each label."""
    if model.config.scorer == "linear":
        return scores.proj.weight, scores.proj.bias
    own = (model.vocabulary().centred @ scores.proj.weight.T + scores.proj.bias) * scores.scale
    return own, scores.bias.expand(len(own))


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_the_finer_map_by_hand(make_model: Make, scorer: str) -> None:
    one = make_model(scorer=scorer).double()
    two = make_model(scorer=scorer, feature_levels=2).double()
    two.load_state_dict(one.state_dict(), strict=False)
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    coarse, out = one(pixels, output_maps=True), two(pixels, output_maps=True)
    assert out.fine_map.shape == (2, 3, 4, 4)
    features, fine = split_levels(two.backbone(pixels), two.backbone.num_features)
    by_hand = finer_scores(two, fine, *vectors(two, two.sct.fine_map.scores))
    weights, biases = vectors(two, two.sct.fine_map.region_scores)
    regions = torch.einsum("bdhw,cd->bchw", features, weights) + biases[:, None, None]
    for b in range(2):
        for k in range(3):
            grid = regions[b, k].tolist()
            values = [
                by_hand[b, k, row, column].item() + at(grid, (row - 0.5) / 2, (column - 0.5) / 2)
                for row in range(4)
                for column in range(4)
            ]
            assert out.fine_map[b, k].flatten().tolist() == pytest.approx(values, abs=1e-9)
            total = sum(math.exp(value) for value in values)
            pooled = sum((0.5 / 16 + 0.5 * math.exp(value) / total) * value for value in values)
            assert out.branch_logits["fine"][b, k].item() == pytest.approx(pooled, abs=1e-9)
    for name in (
        "semantic_map",
        "transport_plan",
        "backward_plan",
        "region_scores",
    ):
        torch.testing.assert_close(out[name], coarse[name])
    for name in ("region", "map", "pooled"):
        torch.testing.assert_close(out.branch_logits[name], coarse.branch_logits[name])
    torch.testing.assert_close(out.logits, torch.stack(list(out.branch_logits.values())).mean(0))


def test_it_learns_and_survives_a_round_trip(make_model: Make, tmp_path) -> None:
    model = make_model(feature_levels=2).train()
    model(torch.randn(2, 3, 64, 64), labels=torch.ones(2, 3)).loss.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.sct.fine_map.parameters())
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert_same_after_loading(model, loaded, torch.randn(2, 3, 64, 64))


def test_maps_computed_before_give_the_same(make_model: Make) -> None:
    model = make_model(feature_levels=2)
    pixels = torch.randn(2, 3, 64, 64)
    joined = model.backbone(pixels)
    assert joined.shape[1] == model.backbone.map_features > model.backbone.num_features
    torch.testing.assert_close(model(backbone_features=joined).logits, model(pixels).logits)
    with pytest.raises(ValueError, match=f"backbone_features .*{model.backbone.map_features}, height"):
        model(backbone_features=joined[:, :-1])


def test_a_heatmap_has_the_finer_grid(make_model: Make) -> None:
    with torch.no_grad():
        heatmap = make_model(feature_levels=2)(torch.randn(2, 3, 64, 64), output_maps=True).heatmap
    assert heatmap.shape == (2, 3, 4, 4)
    assert (heatmap.amin((2, 3)), heatmap.amax((2, 3))) == (pytest.approx(0), pytest.approx(1))


def test_many_labels_are_scored_in_parts(make_model: Make) -> None:
    model = make_model(scorer="label", feature_levels=2)
    vocabulary = model.vocabulary(torch.randn(11, 12))
    joined = torch.randn(2, model.backbone.map_features, 2, 3)
    whole = model(backbone_features=joined, vocabulary=vocabulary).logits
    in_parts = model.score_in_parts(backbone_features=joined, vocabulary=vocabulary, size=4)
    torch.testing.assert_close(in_parts, whole, rtol=1e-4, atol=1e-5)


def test_low_precision_stays_close(make_model: Make) -> None:
    model = make_model(feature_levels=2)
    joined = torch.randn(2, model.backbone.map_features, 2, 2)
    plain = model(backbone_features=joined).logits
    with torch.autocast("cpu", torch.bfloat16):
        low = model(backbone_features=joined).logits
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, plain, rtol=0.1, atol=0.1)


@torch.no_grad()
def test_scores_by_text_fit_float16() -> None:
    """The plain product of features and a label's vector, 1280 · 16 · 4, passes 65,504."""
    scores, centred = TextScores(1280, 384), torch.ones(2, 384)
    scores.proj.weight.copy_(torch.tensor(4 / 384))
    scores.proj.bias.zero_()
    expected = 1280 * 16 * 4 / math.sqrt(1280 * 384)
    low = scores.half()(torch.full((1, 3, 1280), 16.0).half(), centred.half())
    own = scores.own(torch.full((1, 2, 1280), 16.0).half(), centred.half())
    for found in (low, own):
        torch.testing.assert_close(found.float(), torch.full_like(found.float(), expected), rtol=1e-2, atol=0)
