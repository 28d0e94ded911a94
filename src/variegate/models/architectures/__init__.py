"""Networks by name: one family per file, `catalog` to build them.

Every network takes float32 (N, in_channels, H, W) in [0, 1] and returns logits (N, num_classes). Normalisation is no
part of them: a classifier's `mean` and `std` do it.
"""
