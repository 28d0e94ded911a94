"""The payloads that hold tensors; these modules import torch, so import them where they are used."""
