"""Prototypes from an image–text pair, against the pair's own way from a region to a score."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer

from sct_hf import SCTConfig, encode_labels
from sct_hf.backbone_pair import load_pair_projection
from sct_hf.backbone_weights import load_backbone_weights
from sct_hf.errors import InputError
from sct_hf.label_text.pair_prototypes import classifier_or_pair, make_pair_prototypes, prototypes_of_pair
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.model.backbone_sct import TimmBackbone
from tests.label_text.pairs import JOINT, RESNET, SIDE, VIT, WIDTH, clip, siglip, timm_resnet, timm_vit

LABELS = ["dog", "cat", "tv", "red dog", "a photo of a cat"]
CLIP_VIT, SIGLIP_VIT = "vit_base_patch16_clip_224", "vit_base_patch16_siglip_224"


def saved(whole: nn.Module, folder: Path) -> str:
    torch.save(whole.state_dict(), folder / "tower.pth")
    return str(folder / "tower.pth")


def backbone_of(name: str, kwargs: dict, source: str) -> TimmBackbone:
    """The backbone as a model has it, with the weights of a file."""
    backbone = TimmBackbone(SCTConfig(backbone=name, image_size=SIDE, backbone_kwargs=kwargs)).eval()
    load_backbone_weights(backbone.timm_model, name, source)
    return backbone


def text(rows: Tensor) -> LabelVectors:
    names = [f"text {row}" for row in range(len(rows))]
    recipe = {"encoder": "by hand", "template": "{}", "words": names, "dim": rows.shape[1], "pooling": "projection"}
    return LabelVectors(names, rows.float(), recipe)


def assert_scores(regions: Tensor, projection: Tensor, joint: Tensor) -> None:
    """Regions (N, D₀) score by prototypes as joint vectors (N, D_j), less biases, do by text; one factor for all."""
    generator = torch.Generator().manual_seed(0)
    labels, things = (torch.randn(count, joint.shape[1], generator=generator) for count in (5, 40))
    prototypes = make_pair_prototypes(text(labels), text(things), projection)
    assert prototypes.shape == (5, regions.shape[1])
    found = (regions @ prototypes.T).double()  # (N, C)
    mean = F.normalize(things, dim=1).mean(0)
    wanted = ((joint @ F.normalize(labels, dim=1).T) - (joint @ mean)[:, None]).double()
    factor = (found * wanted).sum() / wanted.square().sum()
    assert factor > 0
    assert wanted.std() > 1e-3
    torch.testing.assert_close(found, factor * wanted, rtol=1e-3, atol=1e-4 * float(found.abs().max()))


def test_clip_vit_projects_tokens_as_transformers_does(tmp_path: Path) -> None:
    model = clip(tmp_path)
    source = saved(timm_vit(model), tmp_path)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    backbone, projection = backbone_of(CLIP_VIT, VIT, source), load_pair_projection(CLIP_VIT, source, VIT)
    assert torch.equal(projection, model.visual_projection.weight)
    with torch.no_grad():
        tokens = model.vision_model(pixels).last_hidden_state[:, 1:]
        joint = model.visual_projection(model.vision_model.post_layernorm(tokens))
        assert_scores(backbone(pixels).flatten(2).transpose(1, 2).flatten(0, 1), projection, joint.flatten(0, 1))


def test_siglip_projects_a_region_alone_as_transformers_pool_does(tmp_path: Path) -> None:
    """Without the MLP behind the pool, whose last layer is set to zero here."""
    model = siglip(tmp_path)
    source = saved(timm_vit(model), tmp_path)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    backbone, projection = backbone_of(SIGLIP_VIT, VIT, source), load_pair_projection(SIGLIP_VIT, source, VIT)
    assert projection.shape == (WIDTH, WIDTH)
    pool = model.vision_model.head
    with torch.no_grad():
        tokens = model.vision_model(pixels).last_hidden_state.flatten(0, 1)[:, None]  # (N, 1, D)
        for parameter in pool.mlp.fc2.parameters():
            parameter.zero_()
        joint = pool(tokens) - pool(torch.zeros_like(tokens))
        assert_scores(backbone(pixels).flatten(2).transpose(1, 2).flatten(0, 1), projection, joint)


def test_clip_resnet_without_its_pool_projects_as_a_region_that_attends_to_itself(tmp_path: Path) -> None:
    """MaskCLIP's case: the last stage, by the pool's value and output projection."""
    whole = timm_resnet()
    source = saved(whole, tmp_path)
    backbone = backbone_of("resnet50_clip_gap", RESNET, source)
    projection = load_pair_projection("resnet50_clip_gap", source, RESNET)
    assert projection.shape == (JOINT, 128)
    with torch.no_grad():
        regions = backbone(torch.randn(2, 3, 2 * SIDE, 2 * SIDE)).flatten(2).transpose(1, 2).flatten(0, 1)
        alone = regions[:, :, None, None]  # one region: it and the mean are the same token
        whole.head.pos_embed.zero_()
        assert_scores(regions, projection, whole.head(alone) - whole.head(torch.zeros_like(alone)))


def test_clip_resnet_with_its_pool_projects_what_the_pool_gives_each_region(tmp_path: Path) -> None:
    whole = timm_resnet()
    source = saved(whole, tmp_path)
    backbone = backbone_of("resnet50_clip", RESNET, source)
    projection = load_pair_projection("resnet50_clip", source, RESNET)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        whole.head.pool_type = ""  # timm's own: the vector of each region, not of the mean
        joint = whole(pixels) - whole.head.proj.bias[:, None, None]
        regions = backbone(pixels)
        assert regions.shape[1] == 128
        assert_scores(*(regions.flatten(2)[0].T, projection, joint.flatten(2)[0].T))


def test_a_file_in_the_layout_of_openai(tmp_path: Path) -> None:
    whole = timm_vit(clip(tmp_path))
    state = dict(whole.state_dict())
    swaps = {"patch_embed.proj.": "conv1.", "norm_pre": "ln_pre", "blocks.": "transformer.resblocks."}
    swaps |= {
        "attn.qkv.": "attn.in_proj_",
        "attn.proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    swaps |= {"norm1": "ln_1", "norm2": "ln_2", "pos_embed": "positional_embedding"}
    visual = {"proj": state.pop("head.weight").T, "class_embedding": state.pop("cls_token")[0, 0]}
    del state["head.bias"]
    for key, value in state.items():
        for mine, theirs in swaps.items():
            key = key.replace(mine, theirs)
        key = key.replace("norm.", "ln_post.") if key.startswith("norm.") else key
        visual[key] = value[0] if key == "positional_embedding" else value
    torch.save({f"visual.{key}": value for key, value in visual.items()}, tmp_path / "openai.pth")
    source = str(tmp_path / "openai.pth")
    torch.testing.assert_close(load_pair_projection(CLIP_VIT, source, VIT), whole.head.weight, rtol=0, atol=0)
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        tokens = whole.forward_features(pixels)[:, 1:].transpose(1, 2)
        torch.testing.assert_close(backbone_of(CLIP_VIT, VIT, source)(pixels).flatten(2), tokens)


def test_worked_by_hand() -> None:
    """Things (0, 3) and (5, 0), of length 1 (0, 1) and (1, 0), mean (½, ½); the projection doubles the first axis."""
    projection = torch.tensor([[2.0, 0, 0], [0, 1, 0]])
    things = text(torch.tensor([[0.0, 3], [5, 0]]))  # less the mean ±(½, −½), projected ±(1, −½): length √1.25
    made = make_pair_prototypes(text(torch.tensor([[7.0, 0], [0.0, -2]])), things, projection)
    factor = 2 / 1.25**0.5
    expected = factor * torch.tensor([[1.0, -0.5, 0], [-1, -1.5, 0]])
    torch.testing.assert_close(made, expected)
    assert made.dtype == torch.float32


def test_a_prototype_depends_on_its_own_label_alone(tmp_path: Path) -> None:
    encoder, template = str(tmp_path), "a photo of a {}"
    model = clip(tmp_path)
    projection = torch.randn(JOINT, WIDTH)
    text_of = {names: encode_labels(list(names), encoder, template=template) for names in (("dog", "tv"), ("tv",))}
    both, one = (prototypes_of_pair(rows, projection, encoder, template=template) for rows in text_of.values())
    torch.testing.assert_close(both[1:], one, rtol=1e-4, atol=1e-5)
    # The direction between two labels is that of transformers' own text vectors.
    batch = AutoTokenizer.from_pretrained(encoder)(
        ["a photo of a dog", "a photo of a tv"], return_tensors="pt", padding=True
    )
    with torch.no_grad():
        vectors = F.normalize(model.get_text_features(**batch).pooler_output, dim=1)
    found, wanted = both[0] - both[1], (vectors[0] - vectors[1]) @ projection
    torch.testing.assert_close(F.normalize(found, dim=0), F.normalize(wanted, dim=0), rtol=1e-3, atol=1e-4)


def test_text_of_siglip_is_as_long_as_in_its_training(tmp_path: Path) -> None:
    """So that a label's vector does not depend on how long the others are."""
    model = siglip(tmp_path)
    ids = torch.zeros(1, 48, dtype=torch.long)
    ids[0, :3] = torch.tensor([2, 7, 3])  # [CLS] dog [SEP]
    with torch.no_grad():
        expected = model.get_text_features(input_ids=ids).pooler_output
    for names in (["dog"], ["dog", "a photo of a red dog"]):
        found = encode_labels(names, str(tmp_path))
        torch.testing.assert_close(found.embeddings[:1], expected, rtol=1e-4, atol=1e-5)
        assert found.recipe["pooling"] == "projection"


def test_widths_that_differ(tmp_path: Path) -> None:
    source = saved(timm_vit(clip(tmp_path / "pair")), tmp_path)
    clip(tmp_path / "other", width=9)
    label_vectors = encode_labels(LABELS, str(tmp_path / "other"))
    message = (
        r"label_encoder='other' gives vectors of width 9, but backbone='vit_.*' projects images to width 12\. Give"
    )
    with pytest.raises(InputError, match=message):
        classifier_or_pair(CLIP_VIT, source, label_vectors, VIT)


def test_text_of_another_kind_needs_a_classifier(tmp_path: Path) -> None:
    source = saved(timm_vit(clip(tmp_path)), tmp_path)
    label_vectors = encode_labels(LABELS, f"random:{JOINT}")
    message = r"ImageNet classifier of .*its 12 classes are not known.*pair give that pair, .*as label_encoder"
    with pytest.raises(InputError, match=message):
        classifier_or_pair(CLIP_VIT, source, label_vectors, VIT)


@pytest.mark.parametrize(
    ("name", "kwargs", "state", "reason"),
    [
        ("test_resnet", None, None, "such weights have no projection"),
        ("test_resnet", None, {"conv1.weight": (3,)}, "no projection behind the map"),
        ("vit_base_patch16_siglip_gap_224", VIT, {"norm.weight": (WIDTH,)}, "no projection behind the map"),
        ("test_resnet", None, {"fc.weight": (JOINT, 50)}, "reads 50 features where there are 96"),
        (
            "resnet50_clip_gap",
            RESNET,
            {"head.v.weight": (128, 128), "head.proj.weight": (JOINT, 64)},
            "reads 64 features where there are 128",
        ),
    ],
)
def test_a_backbone_without_a_pair(tmp_path: Path, name: str, kwargs, state, reason: str) -> None:
    source = "none"
    if state is not None:
        source = str(tmp_path / "w.pth")
        torch.save({key: torch.ones(shape) for key, shape in state.items()}, source)
    message = (
        rf"label_prototypes need .*image–text projection of backbone='{name}', backbone_weights='.*: .*{reason}\. "
    )
    with pytest.raises(InputError, match=rf"{message}Give weights .*label_prototypes to false"):
        classifier_or_pair(name, source, text(torch.ones(1, JOINT)), kwargs)


def test_the_projection_of_the_twin_with_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published weights of a "_gap" model lack the pool, so it is read from those they were cut from."""
    whole = timm_resnet().state_dict()
    published = {"resnet50_clip.openai": whole}
    published["resnet50_clip_gap.openai"] = {key: value for key, value in whole.items() if key[:5] != "head."}
    monkeypatch.setattr("sct_hf.backbone_pair.timm_state", lambda name: published[name])
    found = load_pair_projection("resnet50_clip_gap.openai", "pretrained", RESNET)
    torch.testing.assert_close(found, whole["head.proj.weight"] @ whole["head.v.weight"])
    torch.testing.assert_close(
        load_pair_projection("resnet50_clip.openai", "pretrained", RESNET), whole["head.proj.weight"]
    )
    others = {key: value + 0.1 if value.is_floating_point() else value for key, value in whole.items()}
    published["resnet50_clip.openai"] = others
    with pytest.raises(InputError, match=r"its weights are not those of 'resnet50_clip\.openai'"):
        load_pair_projection("resnet50_clip_gap.openai", "pretrained", RESNET)


def test_entries_of_an_unused_pool_are_dropped_and_others_refused(tmp_path: Path) -> None:
    whole = timm_vit(siglip(tmp_path))
    backbone_of(SIGLIP_VIT, VIT, saved(whole, tmp_path))
    torch.save(whole.state_dict() | {"attn_pool.more": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(InputError, match=r"attn_pool\.more is not part of the backbone\. Give"):
        backbone_of(SIGLIP_VIT, VIT, str(tmp_path / "more.pth"))
