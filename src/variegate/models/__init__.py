"""Classifiers, networks by name, and banks of copies that share one forward pass of their original.

- `classifier`: a seller's trained module with its input spec, labels and normalisation, and how forward passes run;
- `bank`: many copies for one forward pass of the original, and the heads in which they differ;
- `geometry`: distances between inputs, and from an input to the original's decision boundary;
- `architectures`, `loading`, `state`, `seller_code`: networks by name or from a seller's own code, with weights from
  safetensors; `onnx`: ONNX files for hard labels.
"""
