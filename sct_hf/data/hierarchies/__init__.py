"""Hierarchies of labels, from a file or WordNet, and their effect on a data set's targets."""

from sct_hf.data.hierarchies.files import read_hierarchy, write_hierarchy
from sct_hf.data.hierarchies.named import load_hierarchy
from sct_hf.data.hierarchies.targets import with_parents

__all__ = ["load_hierarchy", "read_hierarchy", "with_parents", "write_hierarchy"]
