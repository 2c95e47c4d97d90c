"""Names of labels → words → vectors."""

from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.vectors import LabelText
from sct_hf.label_text.words import label_words

__all__ = ["LabelText", "encode_labels", "label_words"]
