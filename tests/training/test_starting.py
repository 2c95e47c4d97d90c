"""Runs that go out from a checkpoint of other labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from sct_hf.errors import InputError
from sct_hf.training.loop import train
from sct_hf.training.models import new_model, save_model

COCO = ["person", "dining table", "potted plant", "tv", "dog"]
VOC = ["aeroplane", "diningtable", "person", "pottedplant", "dog", "tvmonitor"]
PLACES = {1: 1, 2: 0, 3: 2, 4: 4}
"""Places of equal labels, VOC: COCO, matched by hand. "tv" and "tv monitor" are two."""

_SCORES = ("sct.semantic_map.scores.proj", "scorer.scores.proj", "pooled_scorer.scores.proj")
ROWS = {
    "sct": {f"{place}.{kind}" for place in _SCORES for kind in ("weight", "bias")},
    "sct_known_labels": {f"{place}.{kind}" for place in _SCORES for kind in ("weight", "bias")},
    "sct_label_graph": {f"{place}.{kind}" for place in _SCORES for kind in ("weight", "bias")},
    "linear": {"head.classifier.weight", "head.classifier.bias"},
    "csra": {"head.classifier.weight"},
    "query2label": {"head.queries.weight", "head.classifier.weight", "head.classifier.bias"},
    "ml_decoder": {
        "head.layer.query_embed.weight",
        "head.layer.duplicate_pooling",
        "head.layer.duplicate_pooling_bias",
    },
    "bilinear_attention": {"head.classifier.weight", "head.classifier.bias"},
    "patchct": {"head.classifier.weight", "head.classifier.bias"},
    "clsl": {f"head.{place}.{kind}" for place in ("classifier", "semantic_map") for kind in ("weight", "bias")},
}
"""Entries with a row for each label, by head, read off the classes by hand."""
_WIDTHS = {
    "query2label": {"hidden_size": 16, "ffn_dim": 16},
    "ml_decoder": {"hidden_size": 16},
    "clsl": {"hidden_size": 16, "ffn_dim": 16, "attention_size": 8},
    "bilinear_attention": {"hidden_size": 8, "output_size": 8},
    "patchct": {"hidden_size": 8},
}


@pytest.fixture
def make(tiny: Callable) -> Callable:
    """Make the model of a tiny run with these labels and options."""

    def made(names: list[str], **options: Any) -> Any:
        if options.get("head") in _WIDTHS:
            options["head_kwargs"] = _WIDTHS[options["head"]]
        return new_model(tiny(**options), names, Accelerator(cpu=True))

    return made


@pytest.fixture
def started(make: Callable, tmp_path: Path) -> Callable:
    """A checkpoint with these labels, a run without it and one from it with others: three models."""

    def three(there: list[str], here: list[str], **options: Any) -> tuple[Any, Any, Any]:
        source = make(there, seed=3, **options)
        for tensor in source.state_dict().values():  # as after training: no entry has the value it began with
            tensor.add_(torch.rand_like(tensor) if tensor.is_floating_point() else 1)
        (tmp_path / "source").mkdir()
        save_model(source, tmp_path / "source")
        alone, run = make(here, seed=3, **options), make(here, seed=3, init_checkpoint=tmp_path / "source", **options)
        return source, alone, run

    return three


@pytest.mark.parametrize("head", list(ROWS))
def test_equal_labels_keep_their_rows_and_shared_weights_are_taken(started: Callable, head: str) -> None:
    source, alone, run = (model.state_dict() for model in started(COCO, VOC, head=head))
    of_labels = {name for name in run if name.rpartition(".")[2] in ("label_embeddings", "label_graph")}
    assert ROWS[head] <= run.keys()
    for name, found in run.items():
        if name in of_labels:
            assert torch.equal(found, alone[name]), name
        elif name in ROWS[head]:
            for place in range(len(VOC)):
                expected = source[name][PLACES[place]] if place in PLACES else alone[name][place]
                assert torch.equal(found[place], expected), (name, place)
        else:
            assert torch.equal(found, source[name]), name
            assert found.numel() == 0 or not torch.equal(found, alone[name]), name


def test_one_line_says_what_was_taken(started: Callable, capsys: pytest.CaptureFixture) -> None:
    started(COCO, VOC)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("start from ")
    assert line.endswith(
        "source: took the backbone and the head; 4 of 6 labels have rows there; fresh: aeroplane, tvmonitor; "
        "replaced: sct.label_embeddings"
    )


@pytest.mark.parametrize("head", ["linear", "csra"])
def test_shared_labels_score_as_in_the_checkpoint(started: Callable, head: str) -> None:
    """In these heads no label's score depends on another's."""
    source, alone, run = (model.eval() for model in started(COCO, VOC, head=head))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        there, fresh, here = (model(images).logits for model in (source, alone, run))
    for place, origin in PLACES.items():
        torch.testing.assert_close(here[:, place], there[:, origin])
        assert not torch.allclose(here[:, place], fresh[:, place])


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_the_same_labels_in_another_order_score_alike(make: Callable, tmp_path: Path, scorer: str) -> None:
    """Nothing of SCT is bound to the order of the labels, so that all of their weights must have moved with them."""
    source = make(COCO, seed=3, scorer=scorer)
    save_model(source, tmp_path)
    order = [3, 0, 4, 2, 1]
    run = make([COCO[place] for place in order], seed=1, init_checkpoint=tmp_path, scorer=scorer)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(run.eval()(images).logits, source.eval()(images).logits[:, order])


def test_a_scorer_by_text_has_no_rows(started: Callable, capsys: pytest.CaptureFixture) -> None:
    source, _, run = (model.state_dict() for model in started(COCO, VOC, scorer="label"))
    assert all(torch.equal(run[name], source[name]) for name in run if name != "sct.label_embeddings")
    assert "took the backbone and the head; replaced: sct.label_embeddings" in capsys.readouterr().out


def test_labels_in_groups_start_fresh(started: Callable, capsys: pytest.CaptureFixture) -> None:
    """ML-Decoder scores over a hundred labels in groups, which have no row a label."""
    many = [*COCO, *(f"thing {number}" for number in range(145))]
    source, alone, run = (model.state_dict() for model in started(many, VOC, head="ml_decoder"))
    for name in ("query_embed.weight", "duplicate_pooling"):
        assert torch.equal(run[f"head.layer.{name}"], alone[f"head.layer.{name}"])
    bias = "head.layer.duplicate_pooling_bias"
    assert torch.equal(run[bias][1], source[bias][1])
    assert "replaced: head.layer.duplicate_pooling, head.layer.query_embed.weight\n" in capsys.readouterr().out


def test_labels_that_share_their_words_are_matched_with_none(started: Callable) -> None:
    there = ["dining table", "diningtable", "person"]
    source, alone, run = (model.state_dict() for model in started(there, ["person", "dining_table"], head="csra"))
    rows = run["head.classifier.weight"]
    assert torch.equal(rows[0], source["head.classifier.weight"][2])
    assert torch.equal(rows[1], alone["head.classifier.weight"][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "linear"}, "model_type is 'sct' there .* its model.safetensors as --backbone_weights"),
        ({"hidden_size": 24}, "does not fit this run: hidden_size is 16 there and 24 here"),
        ({"encoder_ffn_dim": 8}, r"ffn_in.bias is \[16\] there and \[8\] here"),
        ({"backbone": "test_efficientnet"}, "backbone is 'test_resnet' there"),
        ({"label_encoder": "random:9"}, "label_encoder='random:9'.*whose label text has dim 8, not 9.*trained with"),
    ],
)
def test_other_labels_do_not_excuse_another_model(
    make: Callable, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    save_model(make(COCO), tmp_path)
    with pytest.raises(InputError, match=message):
        make(VOC, init_checkpoint=tmp_path, **options)


def test_the_remedy_for_another_head_works(make: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = make(COCO, seed=3)
    save_model(source, tmp_path)
    run = make(VOC, head="linear", backbone_weights=tmp_path / "model.safetensors")
    pairs = zip(source.backbone.state_dict().items(), run.backbone.state_dict().items(), strict=True)
    assert all(one == other and torch.equal(a, b) for (one, a), (other, b) in pairs)
    assert "; its entries sct.backbone.timm_model.*; left " in capsys.readouterr().out


def test_a_run_with_other_labels_trains(
    make: Callable, tiny: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "first").mkdir()
    save_model(make(["red", "lime", "White"]), tmp_path / "first")
    train(tiny(output_dir=tmp_path / "second", init_checkpoint=tmp_path / "first", epochs=1))
    assert "; 2 of 4 labels have rows there; fresh: blue, green; replaced" in capsys.readouterr().out
    written = load_file(tmp_path / "second" / "model.safetensors")
    assert written["scorer.scores.proj.weight"].shape[0] == 4
