"""Training of classifiers: `supervised` trains one; independent copies differ in the seed alone.

Other methods give `train_classifier` another loss or another augmentation, or get a file of their own.
"""

from variegate.training.supervised import EpochReport as EpochReport
from variegate.training.supervised import train_classifier as train_classifier

__all__ = ["EpochReport", "train_classifier"]
