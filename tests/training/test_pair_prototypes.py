"""Training with prototypes of an image–text pair, and labels that come later."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from sct_hf import encode_labels
from sct_hf.backbone_pair import load_pair_projection
from sct_hf.errors import InputError
from sct_hf.label_text.pair_prototypes import prototypes_of_pair
from sct_hf.model.vocabulary_sct import encode_new_labels
from sct_hf.training.loop import train
from sct_hf.training.models import load_model, new_model, save_model
from tests.label_text.pairs import SIDE, VIT, clip, timm_vit

LABELS, NEW = ["red", "green", "blue", "white"], ["a photo of a dog", "red", "tv"]
BACKBONE, TEMPLATE = "vit_base_patch16_clip_224", "a photo of a {}|red {}"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Options of a run on a tiny CLIP: its image tower in a file, the whole pair in a folder."""
    folder = tmp_path_factory.mktemp("pair")
    torch.save(timm_vit(clip(folder / "text")).state_dict(), folder / "tower.pth")
    named = {"backbone": BACKBONE, "backbone_weights": folder / "tower.pth", "backbone_kwargs": VIT}
    return named | {"image_size": SIDE, "label_encoder": folder / "text", "label_template": TEMPLATE}


def expected(names: list[str], options: dict) -> torch.Tensor:
    """Prototypes by the parts that have their own tests."""
    encoder = str(options["label_encoder"])
    projection = load_pair_projection(BACKBONE, str(options["backbone_weights"]), VIT)
    label_vectors = encode_labels(names, encoder, template=TEMPLATE)
    return prototypes_of_pair(label_vectors, projection, encoder, template=TEMPLATE)


def test_a_run_takes_them_where_there_is_no_classifier(tiny: Callable, options: dict, capsys) -> None:
    model = new_model(tiny(**options), LABELS, Accelerator(cpu=True))
    torch.testing.assert_close(model.sct.label_prototypes, expected(LABELS, options))
    assert model.sct.class_vectors is None
    assert "label prototypes from text, by the backbone's projection to width 12" in capsys.readouterr().out
    without = new_model(tiny(**options, label_prototypes=False), LABELS, Accelerator(cpu=True))
    assert without.sct.label_prototypes is None

    # The control: text of other labels, and their prototypes.
    shuffled = options | {"label_encoder": f"shuffled:{options['label_encoder']}"}
    control = new_model(tiny(**shuffled), LABELS, Accelerator(cpu=True)).sct.label_prototypes
    distances = torch.cdist(control, model.sct.label_prototypes)
    assert sorted(distances.argmin(1).tolist()) == [0, 1, 2, 3]
    assert all(place != row for row, place in enumerate(distances.argmin(1).tolist()))


def test_other_text_leaves_them_out_or_fails(tiny: Callable, options: dict, capsys) -> None:
    other = options | {"label_encoder": "random:12", "label_template": "{}"}
    assert new_model(tiny(**other), LABELS, Accelerator(cpu=True)).sct.label_prototypes is None
    assert "trained without label prototypes: label_prototypes need the ImageNet classifier" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"of an image–text pair give that pair, such as .*, as label_encoder"):
        new_model(tiny(**other, label_prototypes=True), LABELS, Accelerator(cpu=True))


def test_labels_that_come_later_have_them_too(tiny: Callable, options: dict, tmp_path: Path) -> None:
    first = new_model(tiny(**options, scorer="label"), LABELS, Accelerator(cpu=True))
    save_model(first, tmp_path)
    model, wanted = load_model(str(tmp_path), field="model"), expected(NEW, options)
    encoder, weights = str(options["label_encoder"]), str(options["backbone_weights"])
    _, found = encode_new_labels(NEW, model, encoder, backbone_weights=weights)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)

    second = new_model(tiny(**options, scorer="label", init_checkpoint=tmp_path), NEW, Accelerator(cpu=True))
    torch.testing.assert_close(second.sct.label_prototypes, wanted, rtol=1e-3, atol=1e-4)

    others = tmp_path / "others.pth"  # weights that the checkpoint was not trained from
    torch.save(timm_vit(clip(tmp_path / "other", seed=1)).state_dict(), others)
    with pytest.raises(InputError, match=r"others\.pth' does not reproduce the checkpoint's own prototypes"):
        encode_new_labels(NEW, model, encoder, backbone_weights=str(others))


def test_trained_on_some_labels_and_scored_on_others(
    tiny: Callable, options: dict, table: Path, tmp_path: Path
) -> None:
    """New labels far from those of training are scored by their prototypes alone."""
    folder = tmp_path / "run"
    given = options | {"scorer": "label", "unseen_labels": "green,white", "epochs": 1, "familiarity_threshold": 0.999}
    metrics = train(tiny(output_dir=folder, **given))
    assert metrics["zero_shot"]["unseen_labels"] == ["green", "white"]
    assert 0 <= metrics["zero_shot"]["ZSL_mAP"] <= 1
    model = load_model(str(folder), field="model").eval()
    torch.testing.assert_close(model.sct.label_prototypes, expected(["blue", "red"], options), rtol=1e-3, atol=1e-4)
    names = ["tv", "red"]
    weights = str(options["backbone_weights"])
    embeddings, prototypes = encode_new_labels(names, model, str(options["label_encoder"]), backbone_weights=weights)
    vocabulary = model.vocabulary(embeddings, prototypes)
    assert vocabulary.familiarity.tolist() == [0, pytest.approx(1, abs=1e-3)]
    pixels = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        regions = model.backbone(pixels).flatten(2).transpose(1, 2)  # (B, P, D₀)
        logits = model(pixels, vocabulary=vocabulary).logits
    scores = 0.5 * regions @ prototypes[0] + model.sct.semantic_map.scores.bias
    plan = (torch.cosine_similarity(regions, prototypes[0], dim=-1) / 0.05).softmax(1)
    by_hand = 0.5 * scores.mean(1) + 0.5 * (plan * scores).sum(1)
    torch.testing.assert_close(logits[:, 0], by_hand, rtol=1e-3, atol=1e-3)
