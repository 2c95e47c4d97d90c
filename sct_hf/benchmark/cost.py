"""The cost of a model: parameters, and floating-point operations for one image."""

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import BackbonePreTrainedModel

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """Size of a model, and the operations of its forward pass on one image, without loss.

    A GFLOP is 10⁹ floating-point operations, a multiply-add counted as two: ResNet-101 at 448 px has 62 (timm's and
    many papers' "GMACs" are half of that). Counted are convolutions, matrix products and attention; element-wise
    work, norms, softmax and pooling are not.

    Attributes:
        head_parameters: Weights of all but the backbone, without text vectors of labels.
        parameters: Weights of the whole model.
        head_gflop: Operations of the head on a map of the backbone.
        gflop: Operations of the whole model on an image.
    """

    head_parameters: int
    parameters: int
    head_gflop: float
    gflop: float

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)


def model_cost(model: BackbonePreTrainedModel) -> Cost:
    """Count parameters and operations of a model at the input size of its configuration.

    Args:
        model: A tagger on a backbone.

    Raises:
        InputError: The model uses an operation that cannot be counted.
    """
    weight = next(model.parameters())
    height, width = model.config.input_size
    image = torch.zeros(1, model.config.num_channels, height, width, dtype=weight.dtype, device=weight.device)
    # A copy without gradients: the counter's hooks cannot bear a weight that wants one where none are recorded.
    still: Any = copy.deepcopy(model).eval().requires_grad_(False)
    features = still.backbone(image)  # (1, D₀, H, W)
    head = count_flop(lambda: still(backbone_features=features))
    still.eval()  # forgets what the head kept of its weights
    whole = count_flop(lambda: still(pixel_values=image))
    parameters = sum(weight.numel() for weight in model.parameters())
    backbone = sum(weight.numel() for weight in model.backbone.parameters())
    return Cost(parameters - backbone, parameters, head / 1e9, whole / 1e9)


def count_flop(forward: Callable[[], Any]) -> int:
    """Count the floating-point operations of a call without gradients, a multiply-add as two.

    Attention counts as its two matrix products with any kernel. The fused fast path of `nn.MultiheadAttention` is
    switched off, since the counter cannot see inside it.

    Args:
        forward: Runs the model once, in evaluation mode.

    Raises:
        InputError: The model uses a product that cannot be counted.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False, custom_mapping={**_PRODUCTS, **_REFUSED})
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            forward()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops()


def _matrix_vector(matrix: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
    return 2 * math.prod(matrix)


def _added_matrix_vector(bias: tuple[int, ...], matrix: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
    return 2 * math.prod(matrix)


def _refusal(name: str) -> Callable[..., int]:
    def refuse(*args: Any, **kwargs: Any) -> int:
        raise InputError(
            f"the model uses aten.{name}, whose operations cannot be counted: write it as matrix products"
        )

    return refuse


# Products of matrices that torch's counter leaves at zero.
_PRODUCTS: dict[Any, Callable[..., int]] = {
    _ATEN.mv: _matrix_vector,
    _ATEN.dot: _matrix_vector,
    _ATEN.vdot: _matrix_vector,
    _ATEN.addmv: _added_matrix_vector,
}
_REFUSED: dict[Any, Callable[..., int]] = {
    getattr(_ATEN, name): _refusal(name)
    for name in (
        *("_trilinear", "addbmm", "addr", "_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
        *("_addmm_activation", "_sparse_mm", "mkldnn_rnn_layer", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"),
    )
}
