from torch import nn


def build(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
