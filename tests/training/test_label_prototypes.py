"""Where the label prototypes of a run come from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from sct_hf import (
    encode_class_words,
    encode_classes,
    encode_labels,
    load_backbone_classifier,
    make_label_classes,
    make_label_prototypes,
)
from sct_hf.errors import InputError
from sct_hf.training.models import load_model, new_model, save_model

LABELS = ["red", "green", "blue", "white"]


@pytest.fixture
def make(tiny: Callable) -> Callable:
    """Make the model of a tiny run with these options."""
    return lambda **options: new_model(tiny(**options), LABELS, Accelerator(cpu=True))


def test_a_run_has_prototypes_where_they_can_be_had(make, grounded) -> None:
    model = make(**grounded)
    classifier = load_backbone_classifier("test_resnet", grounded["backbone_weights"])
    encoder = grounded["label_encoder"]
    words = encode_class_words(classifier, encoder)
    expected = make_label_classes(encode_labels(LABELS, encoder), encode_classes(classifier, encoder), words)
    assert expected.sum(1).min() > 0.5
    assert torch.equal(model.sct.label_prototypes, expected)
    assert torch.equal(model.sct.class_vectors, classifier.weight - classifier.weight.mean(0))
    assert model.config.label_prototypes


def test_left_open_a_run_does_without_them_and_says_why(make, grounded, capsys) -> None:
    for option, reason in (
        ({"backbone_weights": "none"}, "a backbone without weights has no classifier"),
        ({"label_encoder": "random:8"}, "label_encoder='random:8' has none such"),
    ):
        model = make(**grounded | option)
        assert model.sct.label_prototypes is None
        assert not model.config.label_prototypes
        printed = capsys.readouterr().out
        assert printed.startswith("trained without label prototypes: label_prototypes need")
        assert reason in printed
        with pytest.raises(InputError, match=reason):
            make(**grounded | option, label_prototypes="true")


def test_switched_off(make, grounded, capsys) -> None:
    assert make(**grounded, label_prototypes="false").sct.label_prototypes is None
    assert make(**grounded, head="linear").config.model_type != "sct"
    assert "prototypes" not in capsys.readouterr().out


def test_a_checkpoint_carries_them_over(make, grounded, tmp_path: Path) -> None:
    first = make(**grounded)
    save_model(first, tmp_path)
    options = grounded | {"backbone_weights": "none", "init_checkpoint": tmp_path}
    for wanted in ({}, {"label_prototypes": "true"}):
        second = make(**options, **wanted)
        assert torch.equal(second.sct.label_prototypes, first.sct.label_prototypes)
    with pytest.raises(InputError, match=r"label_prototypes is False, but init_checkpoint .* trained with them"):
        make(**options, label_prototypes="false")

    save_model(make(**grounded, label_prototypes="false"), tmp_path)
    assert make(**options).sct.label_prototypes is None
    with pytest.raises(InputError, match=r"label_prototypes is True, but init_checkpoint .* trained without them"):
        make(**options, label_prototypes="true")


def test_other_labels_get_prototypes_from_the_classifier_of_the_checkpoint(make, tiny, grounded, tmp_path) -> None:
    first = make(**grounded)
    save_model(first, tmp_path)
    names, encoder = ["white", "goldfish", "red"], grounded["label_encoder"]
    options = grounded | {"init_checkpoint": tmp_path}
    second = new_model(tiny(**options), names, Accelerator(cpu=True))
    classifier = load_backbone_classifier("test_resnet", grounded["backbone_weights"])
    words = encode_class_words(classifier, encoder)
    expected = make_label_classes(encode_labels(names, encoder), encode_classes(classifier, encoder), words)
    torch.testing.assert_close(second.sct.label_prototypes, expected)
    torch.testing.assert_close(second.sct.label_prototypes[0], first.sct.label_prototypes[3])
    assert torch.equal(second.sct.class_vectors, first.sct.class_vectors)

    # The checkpoint itself holds the classifier.
    third = new_model(tiny(**options | {"backbone_weights": "none"}), names, Accelerator(cpu=True))
    assert torch.equal(third.sct.label_prototypes, second.sct.label_prototypes)


def test_prototypes_by_names_alone_need_the_classifier_of_the_checkpoint(
    make, tiny, grounded, tmp_path, capsys
) -> None:
    """Where the encoder knows names of classes but not every word above them, as word vectors may."""
    vectors = Path(grounded["label_encoder"].removeprefix("glove:")).read_text(encoding="utf-8").splitlines()
    few = tmp_path / "few.txt"
    few.write_text("\n".join(line for line in vectors if not line.startswith("artefact ")) + "\n", encoding="utf-8")
    options = grounded | {"label_encoder": f"glove:{few}"}
    first = make(**options)
    assert "by the names of classes alone: " in capsys.readouterr().out
    classifier = load_backbone_classifier("test_resnet", grounded["backbone_weights"])
    encoder, names = options["label_encoder"], ["white", "goldfish", "red"]
    class_text = encode_classes(classifier, encoder)
    expected = make_label_prototypes(encode_labels(LABELS, encoder), class_text, classifier)
    assert torch.equal(first.sct.label_prototypes, expected)
    assert first.sct.class_vectors is None
    save_model(first, tmp_path)
    options |= {"init_checkpoint": tmp_path}
    second = new_model(tiny(**options), names, Accelerator(cpu=True))
    expected = make_label_prototypes(encode_labels(names, encoder), class_text, classifier)
    torch.testing.assert_close(second.sct.label_prototypes, expected)

    torch.manual_seed(1)  # weights that the checkpoint was not trained from
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "others.pth")
    for weights in ("none", tmp_path / "others.pth"):
        with pytest.raises(InputError, match="prototypes cannot be made for other labels: give --backbone_weights"):
            new_model(tiny(**options | {"backbone_weights": weights}), names, Accelerator(cpu=True))


def test_checkpoints_that_lack_a_part_are_refused(make, grounded, tmp_path: Path) -> None:
    """One without the prototypes of its configuration, and one whose map has another name, as it had once."""
    save_model(make(**grounded), tmp_path)
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    renamed = {key.replace("semantic_map.scores", "semantic_scores"): value for key, value in whole.items()}
    fewer = {key: value for key, value in whole.items() if key != "sct.label_prototypes"}
    for state, message in (
        (renamed, r"lacks 2 of its weights \(sct\.semantic_map\.scores\.proj\.bias, .*of this version of sct_hf"),
        (fewer, r".*lacks 1 tensors .* of the labels, first sct\.label_prototypes"),
    ):
        save_file(state, path, metadata={"format": "pt"})
        with pytest.raises(InputError, match=rf"model is '.*', which {message}"):
            load_model(str(tmp_path), field="model")
