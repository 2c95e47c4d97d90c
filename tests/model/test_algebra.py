"""The model against the plain formulas, written out slowly in float64."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sct_hf import asymmetric_loss, conditional_transport
from sct_hf.model.backbone_sct import sine_positions
from sct_hf.model.layers_sct import EncoderLayer, RegionScorer, SemanticFeatures, aggregate
from tests.model.tiny import tiny_config

DIM, BATCH, REGIONS, LABELS, TEXT = 32, 3, 6, 3, 12


def randomise(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.1
    return module.double()


@pytest.mark.parametrize("training", [True, False])
def test_semantic_features_equal_the_concatenated_form(training: bool) -> None:
    layer = randomise(SemanticFeatures(DIM, tiny_config())).train(training)
    plain = copy.deepcopy(layer)
    text = torch.randn(LABELS, TEXT, dtype=torch.float64)
    image = torch.randn(BATCH, DIM, dtype=torch.float64)
    unit = text / text.pow(2).mean(1, keepdim=True).add(torch.finfo(text.dtype).eps).sqrt()

    weight = torch.cat((plain.text_proj.weight, plain.image_proj.weight), dim=1)  # W₁: (D_t + D, D_t + D)
    pairs = torch.stack([torch.cat((unit[k], image[b])) for b in range(BATCH) for k in range(LABELS)])
    hidden = plain.norm(pairs @ weight.T + plain.text_proj.bias)
    expected = plain.out(F.gelu(hidden)).reshape(BATCH, LABELS, DIM)

    torch.testing.assert_close(layer(text, image), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_region_scores_equal_the_concatenated_form(scorer: str) -> None:
    layer = randomise(RegionScorer(DIM, tiny_config(scorer=scorer))).eval()
    text = torch.randn(LABELS, TEXT, dtype=torch.float64)
    regions = torch.randn(BATCH, REGIONS, DIM, dtype=torch.float64)
    labels = torch.randn(BATCH, LABELS, DIM, dtype=torch.float64)
    plan = torch.rand(BATCH, REGIONS, LABELS, dtype=torch.float64).softmax(-1)

    weight = torch.cat((layer.label_proj.weight, layer.region_proj.weight), dim=1)  # W₃: (2D, 2D)
    tokens = torch.cat((plan @ labels, regions), dim=-1)  # Fᴿ
    hidden = F.gelu(tokens @ weight.T + layer.region_proj.bias)
    if scorer == "linear":
        expected = layer.scores.proj(hidden)
    else:  # each label has the vector that its text is mapped to
        vectors = torch.stack([layer.scores.proj.weight @ text[k] + layer.scores.proj.bias for k in range(LABELS)])
        expected = torch.einsum("bpn,kn->bpk", hidden, vectors) / math.sqrt(2 * DIM * TEXT) + layer.scores.bias

    torch.testing.assert_close(layer(regions, labels, plan, text), expected, rtol=0, atol=1e-10)


def test_aggregation_is_a_softmax_weighted_sum() -> None:
    scores = torch.randn(2, 4, 3, dtype=torch.float64)
    for b in range(2):
        for k in range(3):
            weights = [math.exp(v) for v in scores[b, :, k].tolist()]
            expected = sum(w * v for w, v in zip(weights, scores[b, :, k].tolist(), strict=True)) / sum(weights)
            assert aggregate(scores)[b, k].item() == pytest.approx(expected, abs=1e-12)


def test_encoder_layer_equals_torchs_without_positions() -> None:
    layer = randomise(EncoderLayer(DIM, tiny_config())).eval()
    theirs = nn.TransformerEncoderLayer(DIM, 4, 48, batch_first=True, dtype=torch.float64).eval()
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([m.weight for m in (layer.query, layer.key, layer.value)]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([m.bias for m in (layer.query, layer.key, layer.value)]))
        for mine, other in (
            (layer.out, theirs.self_attn.out_proj),
            (layer.ffn_in, theirs.linear1),
            (layer.ffn_out, theirs.linear2),
            (layer.attention_norm, theirs.norm1),
            (layer.ffn_norm, theirs.norm2),
        ):
            other.load_state_dict(mine.state_dict())
    tokens = torch.randn(BATCH, REGIONS, DIM, dtype=torch.float64)
    torch.testing.assert_close(layer(tokens), theirs(tokens), rtol=0, atol=1e-10)


def test_positions_enter_queries_and_keys_but_not_values() -> None:
    layer = EncoderLayer(DIM, tiny_config()).eval()
    tokens = torch.randn(1, REGIONS, DIM)
    with torch.no_grad():
        layer.value.weight.zero_()  # what is mixed no longer depends on where the tokens are
    torch.testing.assert_close(layer(tokens, torch.randn(REGIONS, DIM)), layer(tokens))


@pytest.mark.parametrize(("height", "width"), [(3, 3), (2, 5)])
def test_sine_positions_by_hand(height: int, width: int) -> None:
    dim = 8
    code = sine_positions(height, width, dim)
    for row in range(height):
        for column in range(width):
            expected = []
            for place, length in ((row, height), (column, width)):
                angle = (place + 1) / length * 2 * math.pi
                for pair in range(dim // 4):
                    scaled = angle / 10_000 ** (2 * pair / (dim // 2))
                    expected += [math.sin(scaled), math.cos(scaled)]
            assert code[row * width + column].tolist() == pytest.approx(expected, abs=1e-5)


def test_forward_follows_the_formulas_end_to_end(make_model, targets) -> None:
    """Losses and logits from the parts of the output, by the public functions of transport and losses."""
    model = make_model().double()
    pixels = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    out = model(pixels, labels=targets, output_maps=True, output_hidden_states=True)
    base = model.sct(pixels)
    regions = out.hidden_states[-1]  # (B, P, D)
    semantic_map = out.semantic_map.flatten(2).transpose(1, 2)  # (B, P, C)
    arguments = {
        "temperature": model.sct.log_temperature.exp(),
        "region_log_prior": semantic_map.log_softmax(1),
        "label_log_prior": semantic_map.log_softmax(2),
    }

    uniform = conditional_transport(regions, base.label_features, **arguments)
    torch.testing.assert_close(out.transport_plan.flatten(2).transpose(1, 2), uniform.forward_plan)
    torch.testing.assert_close(out.backward_plan.flatten(2).transpose(1, 2), uniform.backward_plan)

    features = model.backbone(pixels).flatten(2).transpose(1, 2)  # (B, P, D₀)
    layer = model.sct.semantic_map.scores.proj
    torch.testing.assert_close(semantic_map, features @ layer.weight.T + layer.bias)

    region_scores = out.region_scores.flatten(2).transpose(1, 2)
    region_logits = (region_scores.softmax(1) * region_scores).sum(1)  # (B, C)
    map_logits = semantic_map.mean(1)  # (B, C)
    pooled = out.backward_plan.flatten(2) @ features  # (B, C, D₀)
    scorer = model.pooled_scorer
    hidden = F.gelu(scorer.pooled_proj(pooled) + scorer.label_proj(base.label_features))  # (B, C, 2D)
    vectors, bias = scorer.scores.proj.weight, scorer.scores.proj.bias
    pooled_logits = (hidden * vectors).sum(-1) + bias  # (B, C)
    torch.testing.assert_close(out.logits, (region_logits + map_logits + pooled_logits) / 3)
    for name, logits in (("region", region_logits), ("map", map_logits), ("pooled", pooled_logits)):
        torch.testing.assert_close(out.branch_logits[name], logits)
        torch.testing.assert_close(out.losses[name], asymmetric_loss(logits, targets))

    positives = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    transport = conditional_transport(regions, base.label_features, label_weights=positives, **arguments).loss
    of_region, of_map, of_pooled = (asymmetric_loss(z, targets) for z in (region_logits, map_logits, pooled_logits))
    torch.testing.assert_close(out.losses["transport"], transport)
    torch.testing.assert_close(out.loss, of_region + 0.8 * of_map + of_pooled + 0.1 * transport)


def test_logits_never_see_the_targets(make_model) -> None:
    model = make_model()
    pixels = torch.randn(2, 3, 64, 64)
    plain = model(pixels, output_maps=True)
    for labels in (torch.eye(3)[:2], torch.zeros(2, 3)):
        told = model(pixels, labels=labels, output_maps=True)
        assert torch.equal(plain.logits, told.logits)
        assert torch.equal(plain.transport_plan, told.transport_plan)


def test_guidance_reaches_the_plans_without_a_gradient_to_the_map(make_model) -> None:
    """The plans are those of the map; another map moves them, but it does not learn through them."""
    model, pixels = make_model(), torch.randn(2, 3, 64, 64)
    before = model(pixels, output_maps=True)
    before.transport_plan[:, 0].sum().backward()
    scores = model.sct.semantic_map.scores.proj
    assert scores.weight.grad is None
    assert model.sct.region_proj.weight.grad.abs().sum() > 0
    with torch.no_grad():
        scores.bias[0] += 1
    after = model(pixels, output_maps=True)
    assert (after.transport_plan[:, 0] > before.transport_plan[:, 0]).all()
    # The same for all regions, so that a label's share of them stays.
    torch.testing.assert_close(after.backward_plan, before.backward_plan)
