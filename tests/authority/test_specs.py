"""Calibrated specs keep their record, their model and their name."""

import json

import pytest

from tests.raising import raises
from variegate.errors import ConfigurationError, ConflictError, FormatError, NotFoundError, VerificationError
from variegate.manifest import digest
from variegate.registry.records import get_model, get_spec
from variegate.rewriters.qim import QimSpec


def test_round_trip(desk):
    spec = QimSpec(messages_per_class=8, strength=4.0)
    saved = desk.save_spec("strong", spec, model="net", record={"kind": "calibration", "measured": 0.0123})
    assert desk.saved_spec("strong") == saved
    assert saved.record == {"kind": "calibration", "measured": 0.0123}
    assert saved.spec_digest == spec.digest == digest(spec.to_dict())
    assert saved.model_digest == desk.registry.read(get_model, "net").digest
    assert desk.registry.read(get_spec, spec.digest) == spec.to_dict()


def test_name_belongs_to_one_spec(desk):
    desk.save_spec("strong", QimSpec(strength=4.0))
    desk.save_spec("strong", QimSpec(strength=4.0), record={"again": True})
    with raises(ConflictError, "strong"):
        desk.save_spec("strong", QimSpec(strength=2.0))
    assert desk.saved_spec("strong").spec["strength"] == 4.0


def test_replacing_a_name_leaves_issued_copies_alone(desk):
    (before,) = desk.issue("net", "qim", ["acme"])
    desk.save_spec("qim", QimSpec(strength=8.0), replace=True)
    assert desk.copy_manifest(before.copy_id) == before
    desk.load_copy(before.copy_id)
    with raises(ConflictError, "acme"):
        desk.issue("net", "qim", ["acme"])


def test_bad_names_and_models(desk):
    with pytest.raises(ConfigurationError, match="a spec's name"):
        desk.save_spec("a/b", QimSpec())
    with raises(NotFoundError, "nope"):
        desk.save_spec("x", QimSpec(), model="nope")
    with raises(NotFoundError, "nope"):
        desk.saved_spec("nope")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', "not json", '{"format": "x", "spec": 3}'])
def test_damaged_files(desk, content):
    desk.home.spec("qim").write_text(content)
    with raises(FormatError, "spec"):
        desk.saved_spec("qim")


def test_newer_format(desk):
    rewrite_file(desk, format=2)
    with raises(FormatError, "format", "newer"):
        desk.saved_spec("qim")


def test_changed_parameters_are_noticed(desk):
    rewrite_file(desk, spec=QimSpec(strength=9.0).to_dict())
    with raises(VerificationError, "digest"):
        desk.issue("net", "qim", ["acme"])


def rewrite_file(desk, **changes):
    path = desk.home.spec("qim")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
