"""Artifacts: a copy as a folder that a buyer can take away, run and verify. Importing this package imports no torch.

    model.onnx | model.safetensors | model.pt2 | copy.vgc     the payload
    manifest.json                                             whose copy it is, of which original, until when
    model.sig                                                 the seller's signature over both

- `variegate.artifacts.export`: writes the folder;
- `variegate.artifacts.verify`: checks it in numbered steps, without torch;
- `variegate.artifacts.vgc`: the sealed package;
- `variegate.artifacts.revocations`: the signed list of revoked copies, for devices that are offline.

A copy that runs on a buyer's machine can be read by the buyer, who can strip the rewriter off
(`docs/formats/artifact.md`). Only the hard-label service or trusted hardware keeps it from the buyer.
"""
