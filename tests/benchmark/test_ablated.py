"""Variants of SCT's structure: each does what its name says, on the weights of SCT."""

import copy
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification

from sct_hf.benchmark.ablated import ABLATED, register_ablated
from sct_hf.factory import build_model
from sct_hf.label_text.encoders import encode_labels

LABELS = ["cat", "dog", "bird"]
SIZES: dict[str, Any] = {"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}


def made(head: str, **fields: Any) -> Any:
    torch.manual_seed(0)
    vectors = encode_labels(LABELS, "random:8", seed=0)
    options = SIZES | fields
    return build_model("test_resnet", LABELS, image_size=32, head=head, label_vectors=vectors, **options)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def sct(pixels: torch.Tensor) -> Any:
    """SCT, and what it says of two images."""
    register_ablated()
    return made("sct").eval()


def like(sct: Any, head: str) -> Any:
    """A variant with the weights of SCT, as far as it has them."""
    model = made(head).eval()
    model.load_state_dict(sct.state_dict(), strict=head != "sct_no_norm")
    return model


@torch.no_grad()
def test_what_each_variant_scores(sct: Any, pixels: torch.Tensor) -> None:
    base = sct(pixels, output_maps=True)
    region, semantic, pooled = (base.branch_logits[name] for name in ("region", "map", "pooled"))
    outputs = {head: like(sct, head)(pixels, output_maps=True) for head in ABLATED if head != "sct_no_norm"}
    same = torch.testing.assert_close
    same(outputs["sct_no_label_pooling"].logits, (region + semantic) / 2)
    same(outputs["sct_region_scores"].logits, region)
    same(outputs["sct_no_map_scores"].logits, (region + pooled) / 2)
    same(outputs["sct_fixed_temperature"].logits, base.logits)
    same(outputs["sct_guidance_gradient"].logits, base.logits)
    scores = base.semantic_map.flatten(2)  # (B, C, P)
    same(outputs["sct_map_maximum"].branch_logits["map"], scores.amax(2))
    same(outputs["sct_map_maximum"].branch_logits["region"], region)
    # By a slow path: the plan without a prior is a softmax of the similarity alone.
    match = sct.match(pixels, None)
    plan = (match.similarity / match.temperature).softmax(dim=2)  # (B, P, C)
    same(outputs["sct_unguided"].transport_plan.flatten(2).transpose(1, 2), plan)
    scorer, regions = sct.scorer, match.regions[-1]
    alone = scorer.scores(torch.nn.functional.gelu(scorer.region_proj(regions)), match.vocabulary.centred)
    for head in ("sct_no_aligned", "sct_no_transport"):
        same(outputs[head].region_scores.flatten(2).transpose(1, 2), alone)
    assert outputs["sct_no_transport"].branch_logits.keys() == {"region", "map"}


@torch.no_grad()
def test_a_variant_without_map_scores_keeps_the_finer_level(sct: Any, pixels: torch.Tensor) -> None:
    output = made("sct_no_map_scores", feature_levels=2).eval()(pixels)
    others = [output.branch_logits[name] for name in ("region", "pooled", "fine")]
    torch.testing.assert_close(output.logits, torch.stack(others).mean(0))


def test_what_each_variant_learns(sct: Any, pixels: torch.Tensor) -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])

    def gradients(head: str) -> dict[str, torch.Tensor | None]:
        model = copy.deepcopy(sct) if head == "sct" else like(sct, head)
        model(pixels, labels=labels).loss.backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    base = gradients("sct")
    assert base["sct.log_temperature"] is not None
    assert gradients("sct_fixed_temperature")["sct.log_temperature"] is None
    assert all(base[name] is not None for name in base if name.startswith("pooled_scorer."))
    without = gradients("sct_no_label_pooling")
    assert all(without[name] is None for name in base if name.startswith("pooled_scorer."))
    name = "sct.semantic_map.scores.proj.weight"
    assert not torch.equal(gradients("sct_guidance_gradient")[name], base[name])  # type: ignore[arg-type]
    assert gradients("sct_no_aligned")["scorer.label_proj.weight"] is None


def test_regions_without_a_norm(sct: Any, pixels: torch.Tensor) -> None:
    def spread(model: Any) -> float:
        return float(model.match(pixels, None).regions[0].std(dim=-1).mean())

    with torch.no_grad():
        assert spread(sct) == pytest.approx(1, abs=0.05)
        assert spread(like_without_norm(sct)) != pytest.approx(1, abs=0.05)


def like_without_norm(sct: Any) -> Any:
    model = made("sct_no_norm").eval()
    kept = {name: value for name, value in sct.state_dict().items() if "region_norm" not in name}
    model.load_state_dict(kept)
    return model


@pytest.mark.parametrize("head", list(ABLATED))
def test_each_is_saved_and_loads_as_itself(tmp_path: Any, sct: Any, head: str, pixels: torch.Tensor) -> None:
    model = made(head).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(again) is ABLATED[head]
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).logits, model(pixels).logits)
