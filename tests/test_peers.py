"""The peer heads: what they compute, and what they refuse."""

import pytest
import torch

from sct_hf import PeerConfig, PeerForMultiLabelClassification, asymmetric_loss


@pytest.fixture
def model() -> PeerForMultiLabelClassification:
    torch.manual_seed(0)
    config = PeerConfig(backbone="test_efficientnet", image_size=64, id2label=dict(enumerate("abc")))
    return PeerForMultiLabelClassification(config).eval()


def test_linear_is_a_classifier_on_the_mean_feature(model) -> None:
    features = torch.randn(2, model.backbone.num_features, 2, 3)
    weight, bias = model.head.classifier.weight, model.head.classifier.bias
    for b in range(2):
        mean = sum(features[b, :, y, x] for y in range(2) for x in range(3)) / 6
        torch.testing.assert_close(model(backbone_features=features).logits[b], weight @ mean + bias)


def test_loss_is_the_asymmetric_one(model) -> None:
    pixels, targets = torch.randn(2, 3, 64, 64), torch.tensor([[1, 0, -1], [0.5, torch.nan, 1]])
    out = model(pixels, labels=targets)
    assert torch.equal(out.loss, asymmetric_loss(out.logits, targets))
    assert out.losses.keys() == {"classification"}


def test_targets_and_inputs_are_checked(model) -> None:
    with pytest.raises(ValueError, match=r"labels have shape \(2, 4\)"):
        model(torch.randn(2, 3, 64, 64), labels=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="either pixel_values or backbone_features"):
        model()
