"""ONNX and pt2: what leaves the house as a graph. Exports take seconds, so the quick tests make three."""

import contextlib
import io
import logging
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from tests.artifacts.sold_copies import KEY, LOG, NOW, PEM, SHAPE, noise, sell
from tests.raising import raises
from variegate.artifacts import payloads
from variegate.artifacts.export import write_artifact
from variegate.artifacts.graphs import onnx_bytes
from variegate.artifacts.verify import verify_artifact
from variegate.errors import ConfigurationError, ModelError
from variegate.models.classifier import Classifier
from variegate.models.onnx import OnnxLabeler
from variegate.rewriters.base import AbstractHead, RewrittenCopy

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SPECS = [
    {"rewriter": "spread_spectrum", "projection": "dense"},
    {"rewriter": "spread_spectrum", "projection": "hadamard", "zero_mean": False},
    {"rewriter": "spread_spectrum", "projection": "sparse", "normalise_input": True},
    {"rewriter": "qim", "projection": "dense", "normalise_input": True},
    {"rewriter": "qim", "projection": "hadamard", "messages_per_class": 4},
    {"rewriter": "qim", "projection": "sparse", "dither": False},
    {"rewriter": "permutation", "alpha": 0.9},
    {"rewriter": "permutation", "dummy_classes": 3},
    {
        "rewriter": "composed",
        "parts": [{"rewriter": "permutation"}, {"rewriter": "qim"}, {"rewriter": "spread_spectrum"}],
    },
]


def write(folder, sold, artifact, **options):
    options = {"copy": sold.copy} | options
    return write_artifact(
        folder,
        artifact=artifact,
        copy_manifest=sold.copy_manifest,
        model_manifest=sold.model_manifest,
        signing=KEY,
        log=LOG,
        created_at=NOW,
        **options,
    )


@pytest.fixture(scope="module")
def sold():
    return sell(bounds=(-1.0, 2.0), normalised=True)


@pytest.fixture(scope="module")
def exported(sold, tmp_path_factory):
    """label: the default; scores: asked for; pt2."""
    place = tmp_path_factory.mktemp("exported")
    talk = io.StringIO()
    handler = logging.StreamHandler(talk)
    logging.getLogger().addHandler(handler)
    try:
        with (
            contextlib.redirect_stdout(talk),
            contextlib.redirect_stderr(talk),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            write(place / "label", sold, "onnx")
            write(place / "scores", sold, "onnx", scores=True)
            write(place / "pt2", sold, "pt2")
    finally:
        logging.getLogger().removeHandler(handler)
    (place / "talk").write_text(talk.getvalue() + "".join(str(one.message) for one in warned))
    return place


def test_exporting_is_quiet(exported):
    assert (exported / "talk").read_text() == ""


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_onnx_is_one_file_that_ends_in_the_label(exported, sold):
    folder = exported / "label"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.onnx", "model.sig"]
    found = verify_artifact(folder, public_key_pem=PEM, now=NOW).require()
    assert (found.artifact, found.output, found.bounds.upper) == ("onnx", "label", 2.0)
    running = session(folder / "model.onnx")
    assert [(one.name, one.type) for one in running.get_outputs()] == [("label", "tensor(int64)")]
    (given,) = running.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("input", "tensor(float)", list(SHAPE))


@pytest.mark.parametrize("rows", [1, 2, 3, 64, 300])
def test_onnx_runs_any_batch_and_agrees(exported, sold, rows):
    x = noise(rows, bounds=(-1.0, 2.0), seed=rows)
    (labels,) = session(exported / "label" / "model.onnx").run(["label"], {"input": x.numpy()})
    expected = sold.copy.predict(x)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, expected.numpy())
    assert rows < 64 or expected.unique().numel() > 3


def test_our_own_reader_takes_it(exported, sold):
    labeler = OnnxLabeler(exported / "label" / "model.onnx", num_classes=10, bounds=sold.copy.bounds)
    x = noise(40, bounds=(-1.0, 2.0))
    assert torch.equal(labeler.predict(x), sold.copy.predict(x))


def test_scores_come_only_where_they_are_asked_for(exported, sold):
    found = verify_artifact(exported / "scores", public_key_pem=PEM, now=NOW).require()
    assert found.output == "scores"
    x = noise(30, bounds=(-1.0, 2.0))
    labels, scores = session(exported / "scores" / "model.onnx").run(["label", "scores"], {"input": x.numpy()})
    assert np.allclose(scores, sold.copy.scores(x).numpy(), atol=1e-5)
    assert np.array_equal(labels, scores.argmax(1))


def test_the_files_say_nothing_of_the_program_that_made_them(exported):
    data = (exported / "label" / "model.onnx").read_bytes()
    with zipfile.ZipFile(exported / "pt2" / "model.pt2") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for content in (data, *parts.values()):
        for word in (b"variegate", b"QimHead", b"site-packages", b"/src/", b'.py"', b"Traceback"):
            assert word not in content
    model = onnx.load_from_string(data)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    pickles = [name for name, content in parts.items() if content[:2] in (b"\x80\x02", b"PK")]
    assert not pickles


def test_pt2_is_written_label_only(exported):
    found = verify_artifact(exported / "pt2", public_key_pem=PEM, now=NOW).require()
    assert (found.artifact, found.output, list(found.files)) == ("pt2", "label", ["model.pt2"])


@pytest.mark.slow
def test_a_buyer_can_run_the_pt2(exported, sold):
    program = torch.export.load(exported / "pt2" / "model.pt2").module()  # of our own making, so loaded here
    for rows in (1, 5, 70):
        x = noise(rows, bounds=(-1.0, 2.0), seed=rows)
        assert torch.equal(program(x), sold.copy.predict(x))


@pytest.mark.slow
@pytest.mark.parametrize("artifact", ["onnx", "pt2"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "-".join(map(str, list(spec.values())[:2]))[:40])
def test_every_rewriter_can_be_exported(tmp_path, spec, artifact):
    sold = sell(spec)
    write(tmp_path / "out", sold, artifact, sample=noise(200, seed=5))
    assert verify_artifact(tmp_path / "out", public_key_pem=PEM, now=NOW).passed


def test_a_graph_with_other_labels_is_not_written(tmp_path, sold, monkeypatch):
    monkeypatch.setattr(payloads, "onnx_bytes", lambda copy, scores: b"graph")
    monkeypatch.setattr(payloads, "onnx_labeler", lambda data: lambda x: (sold.copy.predict(x) + 1) % 10)
    with raises(ModelError, "74 of 74"):
        write(tmp_path / "out", sold, "onnx")
    assert not list(tmp_path.iterdir())


class Branching(nn.Module):
    """Answers by a rule that no graph has: it looks at the values."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        out = self.linear(x.flatten(1))
        return out if out.sum() > 0 else -out


def test_an_original_that_is_no_graph(tmp_path, caplog, capfd, recwarn):
    sold = sell()
    original = Classifier(Branching(), input_shape=SHAPE, labels=10)
    levels = logging.getLogger("torch.onnx").level
    copy = RewrittenCopy(original, sold.copy.head)
    with raises(ModelError, "torch.export"):
        write(tmp_path / "out", sold, "pt2", copy=copy)
    assert not list(tmp_path.iterdir())
    assert logging.getLogger("torch.onnx").level == levels
    assert not [record for record in caplog.records if record.name.startswith(("torch.onnx", "onnx"))]
    assert not list(recwarn)
    assert "torchvision" not in "".join(capfd.readouterr())


class Deep(AbstractHead):
    @property
    def layers(self):
        return ("classifier",)

    def decode(self, x, scores, features):
        return 0.1 * features["classifier"]


def test_a_head_that_reads_layers_is_refused(sold):
    with raises(ConfigurationError, "classifier"):
        onnx_bytes(RewrittenCopy(sold.copy.original, Deep()))
