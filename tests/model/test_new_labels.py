"""Labels given at run time: with the package and without it, with prototypes and without."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from sct_hf import (
    InputError,
    SCTForMultiLabelClassification,
    build_model,
    encode_classes,
    encode_labels,
    make_label_prototypes,
)
from sct_hf.backbone_classifier import BackboneClassifier
from sct_hf.label_text import pair_prototypes
from sct_hf.model import vocabulary_sct
from sct_hf.model.vocabulary_sct import encode_new_labels, label_texts, seen_in_training

LABELS = ["dog", "traffic_light"]
TEMPERATURE = 0.05  # of the prototypes' plan
NEW = ["wildHorse", "dog", "cat"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "traffic", "light", "wild", "horse", "cat", "bird"]
TINY = {"image_size": 64, "scorer": "label", "hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}


def tiny_bert(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)}).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def bert(tmp_path) -> str:
    return tiny_bert(tmp_path / "bert", seed=0)


@pytest.fixture
def classifiers(monkeypatch) -> dict[str, BackboneClassifier]:
    """What can be loaded, by source."""
    found: dict[str, BackboneClassifier] = {}

    def load(name: str, source: str) -> BackboneClassifier:
        assert name == "test_resnet"
        if source not in found:
            raise InputError(f"no classifier by {source}")
        return found[source]

    monkeypatch.setattr(pair_prototypes, "load_backbone_classifier", load)
    return found


def classifier(seed: int) -> BackboneClassifier:
    weight = torch.randn(3, 96, generator=torch.Generator().manual_seed(seed))
    return BackboneClassifier(weight, ["dog", "bird, wild bird", "traffic light"])


def make(
    encoder: str, template: str = "{}", known: BackboneClassifier | None = None
) -> SCTForMultiLabelClassification:
    torch.manual_seed(0)
    text = encode_labels(LABELS, encoder, template=template)
    prototypes = None
    if known is not None:
        prototypes = make_label_prototypes(text, encode_classes(known, encoder, template=template), known)
    return build_model("test_resnet", LABELS, label_vectors=text, label_prototypes=prototypes, **TINY).eval()


def without_package(monkeypatch) -> None:
    monkeypatch.setattr(vocabulary_sct, "_registered", [])


@pytest.mark.parametrize("package", [True, False])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_embeddings_are_those_of_the_package(bert, monkeypatch, package, precision) -> None:
    model = make(bert, "a {}").to(precision)
    wanted = encode_labels(NEW, bert, template="a {}").embeddings
    if not package:
        without_package(monkeypatch)
    embeddings, prototypes = encode_new_labels(NEW, model, bert)
    torch.testing.assert_close(embeddings, wanted, rtol=1e-5, atol=1e-6)
    assert prototypes is None


def test_a_pooling_of_the_encoder_is_kept_without_the_package(bert, monkeypatch) -> None:
    (Path(bert) / "modules.json").write_text(
        '[{"type": "x.Pooling", "path": "p"}, {"type": "x.Normalize", "path": ""}]'
    )
    (Path(bert) / "p").mkdir()
    (Path(bert) / "p" / "config.json").write_text('{"pooling_mode": "cls"}')
    model, wanted = make(bert), encode_labels(NEW, bert).embeddings
    without_package(monkeypatch)
    torch.testing.assert_close(encode_new_labels(NEW, model, bert)[0], wanted, rtol=1e-5, atol=1e-6)


def test_prototypes_are_made_by_the_classifier_that_made_the_checkpoints(bert, classifiers) -> None:
    right = classifier(seed=1)
    model = make(bert, known=right)
    classifiers["package"], classifiers["pretrained"] = classifier(seed=2), right
    embeddings, prototypes = encode_new_labels(NEW, model, bert)
    text = encode_labels(NEW, bert)
    wanted = make_label_prototypes(text, encode_classes(right, bert), right)
    torch.testing.assert_close(prototypes, wanted, rtol=1e-4, atol=1e-5)
    # A model that is given them for good scores the same.
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = model(pixels, vocabulary=model.vocabulary(embeddings, prototypes)).logits
        model.set_labels(NEW, text.embeddings, text.recipe, wanted)
        torch.testing.assert_close(found, model(pixels).logits, rtol=1e-4, atol=1e-5)


def test_prototypes_that_cannot_be_made_are_an_error(bert, classifiers, monkeypatch) -> None:
    model = make(bert, known=classifier(seed=1))
    with pytest.raises(InputError, match=r"no classifier by package.*no classifier by pretrained.*set_labels"):
        encode_new_labels(NEW, model, bert)
    classifiers["package"] = classifier(seed=2)
    with pytest.raises(InputError, match=r"'package' does not reproduce the checkpoint's own prototypes"):
        encode_new_labels(NEW, model, bert)
    without_package(monkeypatch)
    with pytest.raises(ValueError, match=r"made by the package sct_hf: install and import it"):
        encode_new_labels(NEW, model, bert)


@pytest.mark.parametrize("package", [True, False])
def test_another_encoder_of_the_same_width_is_noticed(bert, tmp_path, monkeypatch, package) -> None:
    model = make(bert)
    if not package:
        without_package(monkeypatch)
    with pytest.raises(ValueError, match=r"other' does not reproduce the checkpoint's embeddings"):
        encode_new_labels(NEW, model, tiny_bert(tmp_path / "other", seed=1))


def test_what_is_missing_is_named(bert, monkeypatch) -> None:
    model = make(bert)
    with pytest.raises(InputError, match=r"'bert' cannot be loaded"):  # the recipe keeps no folder
        encode_new_labels(NEW, model)
    without_package(monkeypatch)
    with pytest.raises(ValueError, match=r"'bert' cannot be loaded .*Give its folder .*package sct_hf"):
        encode_new_labels(NEW, model)
    model.config.text_recipe = None
    with pytest.raises(ValueError, match="does not record its text encoder"):
        encode_new_labels(NEW, model)


def test_arguments_of_a_vocabulary_are_checked(bert) -> None:
    model = make(bert)
    with pytest.raises(ValueError, match=r"embeddings have shape \(3, 5\), but \(3, 16\)"):
        model.vocabulary(torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"prototypes have shape \(3, 96\), but none"):
        model.vocabulary(torch.zeros(3, 16), torch.zeros(3, 96))
    with pytest.raises(ValueError, match="without embeddings"):
        model.vocabulary(prototypes=torch.zeros(3, 96))
    model.config.scorer = "linear"
    with pytest.raises(ValueError, match="linear scorer"):
        model.vocabulary(torch.zeros(2, 16))


TEXTS = {"zebra": ["a wild horse", "wild dog"], "cat": "A-Dog", "bird": None}


@pytest.mark.parametrize("package", [True, False])
@pytest.mark.parametrize("normalised", [True, False])
def test_texts_stand_for_a_label_and_are_averaged(bert, monkeypatch, package, normalised) -> None:
    if normalised:
        (Path(bert) / "modules.json").write_text('[{"type": "x.Normalize", "path": ""}]')
    model = make(bert, "a {}")
    if not package:
        without_package(monkeypatch)
    found, _ = encode_new_labels(TEXTS, model, bert)
    tokenizer, text_model = BertTokenizerFast.from_pretrained(bert), BertModel.from_pretrained(bert).eval()

    def vector(text: str) -> torch.Tensor:  # as written: the tokenizer here knows lower case alone
        batch = tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            mean = text_model(**batch).last_hidden_state[0].mean(0)
        return mean / mean.norm() if normalised else mean

    zebra = (vector("a wild horse") + vector("wild dog")) / 2
    wanted = torch.stack([zebra / zebra.norm() if normalised else zebra, vector("A-Dog"), vector("a bird")])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_templates_are_averaged_in_place_of_the_checkpoints_own(bert) -> None:
    model = make(bert, "a {}")
    found, _ = encode_new_labels(["wildHorse", "cat"], model, bert, ["{}", "wild {}"])
    wanted, _ = encode_new_labels({"x": ["wild horse", "wild wild horse"], "y": ["cat", "wild cat"]}, model, bert)
    torch.testing.assert_close(found, wanted)
    mixed, _ = encode_new_labels({"cat": "wild dog", "bird": None}, model, bert, ["{}", "wild {}"])
    torch.testing.assert_close(mixed, encode_new_labels({"c": "wild dog", "b": ["bird", "wild bird"]}, model, bert)[0])


@pytest.mark.parametrize("package", [True, False])
@pytest.mark.parametrize("normalised", [True, False])
def test_several_templates_of_a_checkpoint_are_averaged(bert, monkeypatch, package, normalised) -> None:
    if normalised:
        (Path(bert) / "modules.json").write_text('[{"type": "x.Normalize", "path": ""}]')
    model = make(bert, "a {}|wild {}|{}")
    if not package:
        without_package(monkeypatch)
    found, _ = encode_new_labels(["wildHorse", "cat"], model, bert)
    parts = [["a wild horse", "wild wild horse", "wild horse"], ["a cat", "wild cat", "cat"]]
    single = make(bert)
    rows = [torch.cat([encode_new_labels({"x": text}, single, bert)[0] for text in texts]) for texts in parts]
    wanted = torch.stack([sum(each) / 3 for each in rows])
    wanted = wanted / wanted.norm(dim=1, keepdim=True) if normalised else wanted
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert model.config.text_recipe["template"] == "a {}|wild {}|{}"


def test_labels_and_texts_of_another_form_are_refused(bert) -> None:
    model = make(bert)
    for labels in ("dog", [], {}, ["dog", "dog"], ["dog", 1], {1: "dog"}, None):
        with pytest.raises(ValueError, match=r"labels is .*give a list of names, each once, or a dict"):
            label_texts(labels)
    for texts in ("", ["a", " "], [1]):
        with pytest.raises(ValueError, match="labels: the texts of 'dog' are"):
            label_texts({"dog": texts})
    for templates in ([], "a {}", ["a dog"], ["{} {}"]):
        with pytest.raises(ValueError, match=r"label_templates is .*each with '{}' once"):
            encode_new_labels(NEW, model, bert, templates)


def test_set_labels_encodes_words_and_keeps_what_was_seen(bert, tmp_path) -> None:
    model, pixels = make(bert, "a {}"), torch.randn(2, 3, 64, 64)
    embeddings, _ = encode_new_labels(TEXTS | {"dog": None}, model, bert)
    with torch.no_grad():
        wanted = model(pixels, vocabulary=model.vocabulary(embeddings)).logits
        model.set_labels(TEXTS | {"dog": None}, label_encoder=bert)
        torch.testing.assert_close(model(pixels).logits, wanted)
    assert model.config.label_names == ["zebra", "cat", "bird", "dog"]
    assert model.config.seen_labels == LABELS
    model.save_pretrained(tmp_path / "saved")
    again = SCTForMultiLabelClassification.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).logits, wanted)
    assert seen_in_training(["Traffic-Light", "dog", "zebra"], again.config) == [True, True, False]
    # The texts that made its labels are known again, and so is a wrong encoder.
    torch.testing.assert_close(
        encode_new_labels(["zebra", "bird"], again, bert)[0],
        encode_new_labels({"zebra": "a zebra", "bird": None}, again, bert)[0],
    )
    with pytest.raises(ValueError, match="does not reproduce the checkpoint's embeddings"):
        encode_new_labels(NEW, again, tiny_bert(tmp_path / "other", seed=1))
    again.set_labels(["cat", "bird"], label_encoder=bert)
    assert again.config.seen_labels == LABELS


def test_unlike_labels_are_scored_by_prototypes_alone(bert, classifiers, tmp_path) -> None:
    known = classifiers["package"] = classifier(seed=1)
    model, pixels = make(bert, known=known), torch.randn(2, 3, 64, 64)
    own = encode_labels(LABELS, bert).embeddings
    names = ["traffic light", "horse", "dog"]
    embeddings, prototypes = encode_new_labels(names, model, bert)
    # By hand: cosine of embeddings less the mean of training with the nearest label of training.
    centred, trained = embeddings - own.mean(0), own - own.mean(0)
    nearest = torch.stack([torch.cosine_similarity(row[None], trained).max() for row in centred])
    model.config.familiarity_threshold = 0.5
    wanted = ((nearest - 0.5) / 0.5).clamp(0, 1)
    found = model.vocabulary(embeddings, prototypes).familiarity
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[[0, 2]], torch.ones(2))
    model.config.familiarity_threshold = 0.95
    vocabulary = model.vocabulary(embeddings, prototypes)
    assert vocabulary.familiarity[1] == 0

    with torch.no_grad():
        features = model.backbone(pixels)
        logits = model(pixels, vocabulary=vocabulary).logits
        in_parts = model.score_in_parts(pixels, vocabulary=vocabulary, size=2)
        model.config.familiarity_threshold = 0
        learned = model(pixels, vocabulary=model.vocabulary(embeddings, prototypes)).logits
        model.config.familiarity_threshold = 0.95
    torch.testing.assert_close(in_parts, logits, rtol=1e-4, atol=1e-5)
    tokens = features.flatten(2).transpose(1, 2)  # (B, P, D₀)
    scores = 0.5 * tokens @ prototypes[1] + model.sct.semantic_map.scores.bias  # (B, P)
    cosines = torch.cosine_similarity(tokens, prototypes[1], dim=-1)
    plan = (cosines / TEMPERATURE).softmax(1)
    by_hand = 0.5 * scores.mean(1) + 0.5 * (plan * scores).sum(1)
    torch.testing.assert_close(logits[:, 1], by_hand, rtol=1e-4, atol=1e-4)
    assert (learned[:, 1] - logits[:, 1]).abs().min() > 1e-3
    assert (learned[:, [0, 2]] - logits[:, [0, 2]]).abs().max() < 0.1  # the plan shares regions otherwise, no more

    # Given for good and saved, the labels of training are remembered by their text.
    model.set_labels(names, embeddings, model.config.text_recipe, prototypes)
    model.save_pretrained(tmp_path / "saved")
    again = SCTForMultiLabelClassification.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).logits, logits)


def test_labels_that_are_to_be_trained_count_as_seen(bert, classifiers, tmp_path) -> None:
    known = classifiers["package"] = classifier(seed=1)
    model = make(bert, known=known)
    embeddings, prototypes = encode_new_labels(NEW, model, bert)
    model.set_labels(NEW, embeddings, model.config.text_recipe, prototypes)
    assert model.vocabulary().familiarity is not None
    model.set_labels(NEW, embeddings, model.config.text_recipe, prototypes, to_train=True)
    assert model.config.seen_labels is None
    assert model.vocabulary().familiarity is None
    model.save_pretrained(tmp_path / "saved")
    again = SCTForMultiLabelClassification.from_pretrained(tmp_path / "saved")
    assert seen_in_training(NEW, again.config) == [True] * len(NEW)


@pytest.mark.parametrize("had_seen", [False, True])
def test_another_number_of_labels_makes_up_no_seen_ones(bert, classifiers, tmp_path, had_seen: bool) -> None:
    known = classifiers["package"] = classifier(seed=1)
    model = make(bert, known=known)
    embeddings, prototypes = encode_new_labels(NEW, model, bert)
    if had_seen:
        model.set_labels(NEW, embeddings, model.config.text_recipe, prototypes)
    model.save_pretrained(tmp_path / "saved")
    count = len(model.config.label_names) + 1
    other = SCTForMultiLabelClassification.from_pretrained(
        tmp_path / "saved", num_labels=count, ignore_mismatched_sizes=True
    )
    names = [f"label {number}" for number in range(count)]
    width = prototypes.shape[1]
    other.set_labels(names, torch.randn(count, embeddings.shape[1]), None, torch.randn(count, width))
    assert other.config.seen_labels == (LABELS if had_seen else None)
    assert (other.vocabulary().familiarity is not None) == had_seen
    other.set_labels(names[:2], torch.randn(2, embeddings.shape[1]), None, torch.randn(2, width))
    assert other.config.seen_labels == (LABELS if had_seen else names)
