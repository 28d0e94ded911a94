"""Readers of labelled images, one format per file, and `load_dataset`, which recognises the format.

Images come as float32 (N, C, H, W) with values in [0, 1]. Imports no torch; Pillow, pyarrow and scikit-learn are
imported by the reader that needs them.
"""

from variegate.data.catalog import load_dataset as load_dataset
from variegate.data.images import LabelledImages as LabelledImages
from variegate.data.images import ReadRequest as ReadRequest

__all__ = ["LabelledImages", "ReadRequest", "load_dataset"]
