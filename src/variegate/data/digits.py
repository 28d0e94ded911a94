"""The handwritten digits that come with scikit-learn: 1,797 grey images of 8 x 8 pixels, no download.

Source: the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998). Every fifth
image (index 4, 9, 14, ...) is the test split, 359 images; the others are the training split, 1,438. The same writers
are in both, so accuracy here says little about new writers: the set is for demonstrations and tests.
"""

import numpy as np

from variegate.data.decode import resize_arrays
from variegate.data.images import LabelledImages
from variegate.data.optional import require
from variegate.data.request import ReadRequest

_TEST_EVERY = 5


def read_digits(request: ReadRequest) -> LabelledImages:
    """Return float32 (N, 1, 8, 8) in steps of 1/16.

    Raises:
        ConfigurationError: if scikit-learn is missing.
        InputError: if the offset leaves no image.
    """
    install = 'pip install "variegate[quickstart]"'
    datasets = require("sklearn.datasets", purpose='the data set "digits"', install=install)
    pixels, labels = datasets.load_digits(return_X_y=True)
    is_test = np.arange(len(labels)) % _TEST_EVERY == _TEST_EVERY - 1
    chosen = np.flatnonzero(is_test if request.split == "test" else ~is_test)
    window = request.window(len(chosen), f"the {request.split} split of digits")
    chosen = chosen[window.start : window.stop]
    images = (np.asarray(pixels)[chosen] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return LabelledImages(
        images=resize_arrays(images, request),
        labels=np.asarray(labels)[chosen].astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        name="digits",
    )
