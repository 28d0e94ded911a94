from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.artifacts.sold_copies import NOW, PEM, noise, sell
from tests.authority.linear_seller import imported
from tests.disks import fill_up
from tests.raising import raises
from variegate.artifacts.payloads import check_agreement
from variegate.artifacts.tensors import load_safetensors_copy
from variegate.artifacts.verify import verify_artifact
from variegate.artifacts.vgc import open_copy
from variegate.artifacts.vgc_header import PassphraseRecipient
from variegate.errors import (
    ConfigurationError,
    ConflictError,
    FormatError,
    InputError,
    ModelError,
    NotFoundError,
    VariegateError,
    VerificationError,
)
from variegate.keys import CopyKey
from variegate.manifest import copy_id
from variegate.models.classifier import Classifier
from variegate.models.loading import load_classifier
from variegate.rewriters.base import rewrite
from variegate.rewriters.catalog import spec_from_dict
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec


def passes(folder):
    return verify_artifact(folder, public_key_pem=PEM, now=NOW).require()


@pytest.mark.parametrize(
    "spec",
    [
        {"rewriter": "qim", "normalise_input": True},
        {"rewriter": "spread_spectrum", "projection": "sparse"},
        {"rewriter": "permutation"},
        {"rewriter": "composed", "parts": [{"rewriter": "permutation"}, {"rewriter": "qim", "projection": "dense"}]},
    ],
    ids=lambda spec: spec["rewriter"],
)
def test_safetensors_give_the_copy_back(export, spec):
    sold = sell(spec, bounds=(-1.0, 2.0), normalised=True)
    folder = export("safetensors", sold)
    assert passes(folder).output == "scores"
    copy = load_safetensors_copy(folder)
    x = noise(70, bounds=(-1.0, 2.0))
    assert torch.equal(copy.scores(x), sold.copy.scores(x))
    assert torch.equal(load_safetensors_copy(folder / "model.safetensors").predict(x), sold.copy.predict(x))
    assert copy.original.labels == sold.copy.original.labels


@pytest.fixture
def linear(tmp_path):
    """A copy of an original whose architecture is the seller's own code."""
    sold = sell()
    model = imported(tmp_path / "seller")
    home = tmp_path / "home"
    for name, content in model.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    original = load_classifier(model.manifest, home)
    names = {"model_digest": model.manifest.digest, "spec_digest": sold.copy_manifest.spec_digest}
    manifest = sold.copy_manifest.changed(
        model=model.manifest.name,
        copy_id=copy_id(**names, buyer="acme", epoch=1),
        model_digest=model.manifest.digest,
    )
    copy = rewrite(original, sold.key, spec_from_dict(manifest.spec))
    return replace(sold, model_manifest=model.manifest, copy_manifest=manifest, copy=copy)


def test_safetensors_of_a_sellers_own_code(export, linear, tmp_path):
    folder = export("safetensors", linear)
    with raises(ModelError, "linear_net.py"):
        load_safetensors_copy(folder)
    x = noise(30)
    for code in (tmp_path / "seller", tmp_path / "seller" / "linear_net.py"):
        assert torch.equal(load_safetensors_copy(folder, code=code).predict(x), linear.copy.predict(x))
    with raises(NotFoundError, "linear_net.py"):
        load_safetensors_copy(folder, code=tmp_path)
    (tmp_path / "seller" / "linear_net.py").write_text("raise SystemExit")
    with raises(VerificationError, "linear_net.py"):
        load_safetensors_copy(folder, code=tmp_path / "seller")


def _changed(path, change):
    from safetensors import safe_open
    from safetensors.torch import load_file

    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def _replace(metadata, old, new):
    assert old in metadata["variegate"]
    metadata["variegate"] = metadata["variegate"].replace(old, new)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda t, m: m.pop("variegate"), FormatError, "record"),
        (lambda t, m: m.update(variegate="{}"), FormatError, "version"),
        (lambda t, m: _replace(m, '"format":1,"model"', '"format":2,"model"'), FormatError, "version"),
        (lambda t, m: _replace(m, "digits_cnn", "resnet20"), FormatError, "original"),
        (lambda t, m: t.pop("head.phase"), FormatError, "qim"),
        (lambda t, m: t.update({"head.phase": torch.zeros(3)}), FormatError, "phase"),
        (lambda t, m: t.update(extra=torch.zeros(1)), FormatError, "others"),
        (lambda t, m: t["original.classifier.bias"].add_(1), VerificationError, "digest"),
        (lambda t, m: t.pop("original.classifier.bias"), ModelError, "classifier.bias"),
    ],
)  # fmt: skip
def test_safetensors_that_contradict_themselves(export, change, error, said):
    folder = export("safetensors")
    _changed(folder / "model.safetensors", change)
    with raises(error, said):
        load_safetensors_copy(folder)


def test_a_file_that_is_no_safetensors(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with raises(FormatError, "safetensors"):
        load_safetensors_copy(tmp_path)
    with pytest.raises(NotFoundError):
        load_safetensors_copy(tmp_path / "none")


@pytest.mark.parametrize("content", ["key", "overlay"])
def test_vgc(export, content):
    sold = sell()
    folder = export("vgc", sold, content=content)
    assert passes(folder).artifact == "vgc"
    opened = open_copy((folder / "copy.vgc").read_bytes(), passphrase=b"pass")
    assert torch.equal(opened.copy(sold.copy.original).predict(noise(20)), sold.copy.predict(noise(20)))


def test_a_key_that_is_not_the_copys_is_not_sealed(export, tmp_path):
    with raises(ModelError, "key"):
        export("vgc", key=CopyKey.from_bytes(bytes(32)))
    assert not list(tmp_path.iterdir())


RECIPIENT = PassphraseRecipient(b"pass")


@pytest.mark.parametrize(
    ("artifact", "options", "said"),
    [
        ("zip", {}, "onnx, pt2, safetensors, vgc"),
        ("safetensors", {"scores": True}, "scores"),
        ("safetensors", {"copy": None}, "copy"),
        ("safetensors", {"recipient": RECIPIENT}, "vgc"),
        ("vgc", {"recipient": None}, "X25519"),
        ("vgc", {"key": None}, "key"),
        ("vgc", {"copy": None, "content": "overlay"}, "copy"),
        ("vgc", {"content": "all"}, "key or overlay"),
    ],
)
def test_options_that_contradict_each_other(export, tmp_path, artifact, options, said):
    with raises(ConfigurationError, said):
        export(artifact, **options)
    assert not list(tmp_path.iterdir())


def test_manifests_that_do_not_belong_together(export):
    sold = sell()
    with raises(ConfigurationError, "name"):
        export("safetensors", replace(sold, copy_manifest=sold.copy_manifest.changed(buyer="mallory")))


def test_the_folder_appears_whole_or_not_at_all(export, tmp_path, monkeypatch):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "mine").write_text("x")
    with raises(ConflictError, "exists"):
        export("vgc")
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]
    monkeypatch.setattr("variegate.artifacts.export.sign_folder", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export("vgc", name="other")
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@pytest.mark.parametrize("artifact", ["onnx", "pt2", "safetensors", "vgc"])
def test_a_full_disk(export, small_disk, artifact):
    fill_up(small_disk, leave=0)
    with raises(VariegateError, "space"):
        export(artifact, folder=small_disk / "artifact")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_the_agreement_check_counts():
    copy = sell().copy
    x = noise(200, seed=9)
    labels = copy.predict(x)
    by_row = {row.numpy().tobytes(): int(label) for row, label in zip(x, labels, strict=True)}

    def wrong_for(count):
        wrong = {row.numpy().tobytes() for row in x[:count]}
        return lambda part: torch.tensor(
            [(by_row[r.numpy().tobytes()] + (r.numpy().tobytes() in wrong)) % 10 for r in part]
        )

    agreed = check_agreement(copy, wrong_for(2), what="it", sample=x)
    assert (agreed.inputs, agreed.ties, agreed.disagreeing) == (200, 0, 2)
    with raises(ModelError, "3 of 200"):
        check_agreement(copy, wrong_for(3), what="it", sample=x)
    with raises(ModelError, "int64"):
        check_agreement(copy, lambda part: part, what="it", sample=x)
    with raises(ModelError, "200 of 200"):
        check_agreement(copy, lambda part: torch.full((len(part),), 99), what="it", sample=x)
    with raises(InputError, "sample"):
        check_agreement(copy, copy.predict, what="it", sample=x + 5)


def test_ties_are_counted_apart():
    class Equal(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 2)

    original = Classifier(Equal(), input_shape=(2,), labels=2)
    copy = rewrite(original, CopyKey.from_bytes(bytes(32)), SpreadSpectrumSpec(strength=0.0))
    agreed = check_agreement(copy, lambda part: torch.ones(len(part), dtype=torch.int64), what="it")
    assert (agreed.inputs, agreed.ties, agreed.disagreeing) == (74, 74, 0)
