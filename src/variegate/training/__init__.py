"""Training of classifiers: `run` trains networks that differ in the seed alone, by a recipe, into a folder.

`supervised` trains one module in memory. Both have the same inner loop, `loop`. Other ways of training become entries
of `loop.METHODS`.
"""

from variegate.training.supervised import EpochReport as EpochReport
from variegate.training.supervised import train_classifier as train_classifier

__all__ = ["EpochReport", "train_classifier"]
