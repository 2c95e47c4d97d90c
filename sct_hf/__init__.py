"""SCT, multi-label image tagging by conditional transport, for Hugging Face Transformers.

Importing the package registers its models and its pipeline with transformers. The names below load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sct_hf.extras import install_line
from sct_hf.own_checkpoint import own_checkpoint
from sct_hf.startup import collector_paused

with collector_paused():
    from transformers import AutoModelForImageClassification
    from transformers.pipelines import PIPELINE_REGISTRY

    import sct_hf.label_text  # models embed new labels by its encoders
    import sct_hf.variants  # noqa: F401  # they register themselves
    from sct_hf.model.configuration_sct import SCTConfig
    from sct_hf.model.image_processing_sct import SCTImageProcessor, SCTImageProcessorPil
    from sct_hf.model.modeling_sct import SCTForMultiLabelClassification, SCTModel
    from sct_hf.model.pipeline_sct import TASK, MultiLabelImageClassificationPipeline
    from sct_hf.peers.modeling_peer import PeerConfig, PeerForMultiLabelClassification
    from sct_hf.peers.registry import register_auto_classes

if TYPE_CHECKING:
    from sct_hf.backbone_classifier import load_backbone_classifier
    from sct_hf.backbone_pair import load_pair_projection
    from sct_hf.data import load_data
    from sct_hf.data.hierarchies import load_hierarchy
    from sct_hf.errors import InputError
    from sct_hf.factory import build_model, image_processor
    from sct_hf.inference.tagger import Tagger
    from sct_hf.label_text.class_words import encode_class_words
    from sct_hf.label_text.encoders import LabelVectors, encode_labels
    from sct_hf.label_text.pair_prototypes import make_pair_prototypes
    from sct_hf.label_text.prototypes import encode_classes, make_label_classes, make_label_prototypes
    from sct_hf.label_text.words import label_words
    from sct_hf.metrics.functional import multilabel_metrics
    from sct_hf.metrics.hierarchical import hierarchical_metrics
    from sct_hf.metrics.streaming import MultilabelMetrics
    from sct_hf.model.outputs_sct import asymmetric_loss
    from sct_hf.model.transport_sct import ConditionalTransport, conditional_transport
    from sct_hf.zero_shot import zero_shot_model

__version__ = "0.2.0"

register_auto_classes(PeerForMultiLabelClassification)
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    MultiLabelImageClassificationPipeline,
    pt_model=AutoModelForImageClassification,
    default={"model": (str(own_checkpoint()), "main")},
    type="image",
)

_LAZY = {
    "ConditionalTransport": "sct_hf.model.transport_sct",
    "InputError": "sct_hf.errors",
    "LabelVectors": "sct_hf.label_text.encoders",
    "MultilabelMetrics": "sct_hf.metrics.streaming",
    "Tagger": "sct_hf.inference.tagger",
    "asymmetric_loss": "sct_hf.model.outputs_sct",
    "build_model": "sct_hf.factory",
    "conditional_transport": "sct_hf.model.transport_sct",
    "encode_class_words": "sct_hf.label_text.class_words",
    "encode_classes": "sct_hf.label_text.prototypes",
    "encode_labels": "sct_hf.label_text.encoders",
    "hierarchical_metrics": "sct_hf.metrics.hierarchical",
    "image_processor": "sct_hf.factory",
    "label_words": "sct_hf.label_text.words",
    "load_backbone_classifier": "sct_hf.backbone_classifier",
    "load_data": "sct_hf.data",
    "load_hierarchy": "sct_hf.data.hierarchies",
    "load_pair_projection": "sct_hf.backbone_pair",
    "make_label_classes": "sct_hf.label_text.prototypes",
    "make_label_prototypes": "sct_hf.label_text.prototypes",
    "make_pair_prototypes": "sct_hf.label_text.pair_prototypes",
    "multilabel_metrics": "sct_hf.metrics.functional",
    "zero_shot_model": "sct_hf.zero_shot",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if remedy := install_line(error.name):
            message = f"sct_hf.{name} needs {error.name}, which is not installed: {remedy}"
            raise ModuleNotFoundError(message, name=error.name) from None
        raise


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "ConditionalTransport",
    "InputError",
    "LabelVectors",
    "MultiLabelImageClassificationPipeline",
    "MultilabelMetrics",
    "PeerConfig",
    "PeerForMultiLabelClassification",
    "SCTConfig",
    "SCTForMultiLabelClassification",
    "SCTImageProcessor",
    "SCTImageProcessorPil",
    "SCTModel",
    "Tagger",
    "asymmetric_loss",
    "build_model",
    "conditional_transport",
    "encode_class_words",
    "encode_classes",
    "encode_labels",
    "hierarchical_metrics",
    "image_processor",
    "label_words",
    "load_backbone_classifier",
    "load_data",
    "load_hierarchy",
    "load_pair_projection",
    "make_label_classes",
    "make_label_prototypes",
    "make_pair_prototypes",
    "multilabel_metrics",
    "zero_shot_model",
]
