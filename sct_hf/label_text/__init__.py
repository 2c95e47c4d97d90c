"""Label names → words → vectors. Importing it lets models embed new labels at run time with every encoder."""

from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.new_labels import prototypes_like
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.label_text.words import label_words

__all__ = ["LabelVectors", "encode_labels", "label_words", "prototypes_like"]
