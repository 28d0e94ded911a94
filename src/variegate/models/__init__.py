"""Classifiers, the oracles that attackers see, and banks of copies that share one forward pass.

- `classifier`: a seller's trained module with its bounds, shape, labels and normalisation;
- `oracle`: hard labels only, every query counted;
- `heads`, `bank`: what a rewriter adds to the original, and many copies for one forward of the original;
- `geometry`: how far inputs lie from the original's decision boundary;
- `architectures`, `loading`, `onnx`: networks by name, weights from safetensors, ONNX files for hard labels.
"""
