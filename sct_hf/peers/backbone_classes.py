"""The base of peer heads that hold the backbone's own classifier, and how far its classes show each label."""

import torch
from torch import Tensor, nn

from sct_hf.model.hierarchy_sct import class_evidence, mix_classes
from sct_hf.model.layers_sct import WeightsOnly


class BackboneClassesHead(nn.Module):
    """Base class of heads that hold K class vectors and the labels' shares of these classes, as SCT does.

    They take `num_classes` (K) as an argument, and pass it to `hold_classes` when they are made. `build_model` fills
    them by `set_classes`.

    Attributes:
        class_vectors (`Tensor` of shape (K, D₀)): Rows of the classifier.
        label_classes (`Tensor` of shape (C, K)): Shares in [0, 1] of each class in each label.
    """

    class_vectors: Tensor
    label_classes: Tensor

    def hold_classes(self, num_features: int, num_labels: int, num_classes: int) -> None:
        """Make room for K class vectors of width D₀ and shares of C labels."""
        self.register_buffer("class_vectors", torch.zeros(num_classes, num_features))
        self.register_buffer("label_classes", torch.zeros(num_labels, num_classes))
        self._kept_prototypes = WeightsOnly()

    def set_classes(self, class_vectors: Tensor, label_classes: Tensor) -> None:
        """Take class vectors (K, D₀) and the labels' shares (C, K), any float dtype.

        Raises:
            ValueError: A shape differs.
        """
        for name, held, given in (
            ("class_vectors", self.class_vectors, class_vectors),
            ("label_classes", self.label_classes, label_classes),
        ):
            if given.shape != held.shape:
                raise ValueError(
                    f"{name} have shape {tuple(given.shape)}, but {tuple(held.shape)} is needed: make them from the "
                    "backbone's classifier, by sct_hf.make_label_classes and BackboneClassifier.centred."
                )
            held.copy_(given)

    def evidence(self, pooled: Tensor) -> Tensor:
        """`class_evidence` (B, C) of pooled features (B, D₀), float32."""
        return class_evidence(pooled, self.class_vectors, self.label_classes)

    def prototypes(self) -> Tensor:
        """The labels' prototypes (C, D₀), see `mix_classes`."""
        held = (self.label_classes, self.class_vectors)
        found: Tensor = self._kept_prototypes(lambda: mix_classes(*held), held)
        return found
