import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.artifacts.sold_copies import CREATED, KEY, LOG, NOW, PEM, sell
from tests.raising import raises
from variegate.artifacts.manifest import ArtifactManifest
from variegate.artifacts.revocations import read_revocations, sign_revocations
from variegate.artifacts.verify import STEPS, Step, verify_artifact
from variegate.errors import ConflictError, FormatError, NotFoundError, VerificationError
from variegate.keys import SellerSecret
from variegate.manifest import canonical_json
from variegate.signing import public_pem, sign_folder, signing_key

OTHER = signing_key(SellerSecret.from_bytes(bytes(32)))


def verify(folder, **options):
    return verify_artifact(folder, **({"public_key_pem": PEM, "now": NOW} | options))


def fails(folder, step, said="", **options):
    """The verification fails at this step: those before passed (or were not asked for), those after are skipped."""
    found = verify(folder, **options)
    outcomes = [one.outcome for one in found.steps]
    place = STEPS.index(step) if step in STEPS else len(STEPS)
    assert not found.passed
    assert outcomes[place] == "failed", found.steps
    assert "failed" not in outcomes[:place] + outcomes[place + 1 :]
    assert set(outcomes[place + 1 :]) <= {"skipped"}
    assert said in found.steps[place].detail
    with raises(VerificationError, f"step {place + 1}"):
        found.require()


def sign_again(folder, key=KEY):
    (folder / "model.sig").write_bytes(sign_folder(folder, key))


def rewrite_manifest(folder, **changes):
    values = json.loads((folder / "manifest.json").read_bytes()) | changes
    (folder / "manifest.json").write_bytes(canonical_json(values))
    sign_again(folder)


def revoked(*copies, key=KEY, issued_at=CREATED, next_update=CREATED + 3600):
    return sign_revocations(copies, key, issued_at=issued_at, next_update=next_update, log=LOG)


def test_an_artifact_passes_all_steps(artifact):
    found = verify(artifact, revocations=revoked("vg1-" + "0" * 20))
    assert found.passed
    assert [step.number for step in found.steps] == [1, 2, 3, 4, 5, 6]
    assert [step.name for step in found.steps] == list(STEPS)
    assert {step.outcome for step in found.steps} == {"passed"}
    assert found.require().buyer == "acme"
    assert found.to_dict()["manifest"]["kind"] == "artifact"
    assert json.loads(json.dumps(found.to_dict()))["passed"] is True


def test_without_a_list_revocation_is_skipped(artifact):
    found = verify(artifact)
    assert found.passed
    assert found.steps[5].outcome == "skipped"


def _flip(data, place, kind, byte):
    if kind == "cut":
        return data[:place]
    if kind == "insert":
        return data[:place] + bytes([byte]) + data[place:]
    return data[:place] + bytes([byte]) + data[place + 1 :]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_of_any_byte_fails_at_the_right_step(sealed_artifact, tmp_path, data):
    name, step = data.draw(
        st.sampled_from([("copy.vgc", "files"), ("manifest.json", "files"), ("model.sig", "signature")])
    )
    before = (sealed_artifact / name).read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    changed = _flip(
        before, place, data.draw(st.sampled_from(["replace", "insert", "cut"])), data.draw(st.integers(0, 255))
    )
    folder = tmp_path / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sealed_artifact, folder)
    (folder / name).write_bytes(changed)
    if changed != before:
        fails(folder, step)


@pytest.mark.parametrize("name", ["copy.vgc", "manifest.json", "model.sig"])
def test_a_missing_file(artifact, name):
    (artifact / name).unlink()
    fails(artifact, "signature" if name == "model.sig" else "files", name)


@pytest.mark.parametrize("name", ["extra", ".gitignore", ".git/hooks"])
def test_an_extra_file_fails_even_where_model_signing_looks_away(artifact, name):
    (artifact / name).parent.mkdir(exist_ok=True)
    (artifact / name).write_bytes(b"")
    fails(artifact, "files", f"not signed: {name}")


def test_a_link_and_a_folder_in_place_of_a_file(artifact):
    (artifact / "manifest.json").rename(artifact.parent / "manifest.json")
    (artifact / "manifest.json").symlink_to("../manifest.json")
    fails(artifact, "files", "a link")
    (artifact / "model.sig").unlink()
    (artifact / "model.sig").mkdir()
    fails(artifact, "signature", "folder")


def test_another_key(artifact):
    fails(artifact, "signature", "another key", public_key_pem=public_pem(OTHER).encode())
    sign_again(artifact, OTHER)
    fails(artifact, "signature", "another key")
    fails(artifact, "manifest", "names the signing key", public_key_pem=public_pem(OTHER).encode())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "another version of variegate"),
        ({"format": 0}, "another version of variegate"),
        ({"kind": "copy"}, "artifact"),
        ({"artifact": "onnx"}, "model.onnx"),
        ({"artifact": []}, "artifact"),
        ({"epoch": -1}, "epoch"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"log": {"seq": 1}}, "log"),
        ({"files": {"copy.vgc": "00" * 32}}, "other files"),
    ],
)
def test_a_signed_manifest_that_does_not_fit(artifact, changes, said):
    rewrite_manifest(artifact, **changes)
    fails(artifact, "manifest", said)


def test_a_signed_manifest_in_another_spelling_or_missing(artifact):
    values = json.loads((artifact / "manifest.json").read_bytes())
    (artifact / "manifest.json").write_text(json.dumps(values))
    sign_again(artifact)
    fails(artifact, "manifest", "canonical")
    (artifact / "manifest.json").write_bytes(b"\xff")
    sign_again(artifact)
    fails(artifact, "manifest", "UTF-8")
    (artifact / "manifest.json").unlink()
    sign_again(artifact)
    fails(artifact, "manifest", "no file")


def test_fields_of_a_newer_writer_are_kept(artifact):
    rewrite_manifest(artifact, purpose="evaluation")
    assert verify(artifact).require().extra == {"purpose": "evaluation"}


@pytest.mark.parametrize("changes", [{"buyer": "mallory"}, {"epoch": 2}, {"copy_id": "vg1-" + "0" * 20}])
def test_a_name_that_is_not_the_copys(artifact, changes):
    rewrite_manifest(artifact, **changes)
    fails(artifact, "identity", "the copy's name must be")


def test_a_sealed_package_of_another_copy(artifact, export):
    other = export("vgc", sell(buyer="other"))
    shutil.copy(other / "copy.vgc", artifact / "copy.vgc")
    rewrite_manifest(artifact, files=json.loads((other / "manifest.json").read_bytes())["files"])
    fails(artifact, "identity", "names another buyer")
    (artifact / "copy.vgc").write_bytes(b"VGC")
    rewrite_manifest(artifact, files={"copy.vgc": hashlib.sha256(b"VGC").hexdigest()})
    fails(artifact, "identity", "sealed package")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (CREATED + 86_400 + 301, "expired"),
        (CREATED - 301, "created_at lies in the future"),
        (CREATED - 10**7, "issued_at lies in the future"),
        (0, "in the future"),
    ],
)
def test_times(artifact, now, said):
    fails(artifact, "times", said, now=now)


def test_clocks_may_differ_a_little(artifact):
    assert verify(artifact, now=CREATED - 299).passed
    assert verify(artifact, now=CREATED + 86_400 + 299).passed
    fails(artifact, "times", "future", now=CREATED - 1, skew_seconds=0)
    fails(artifact, "times", "expired", now=CREATED + 86_400, skew_seconds=0)
    assert verify(artifact, now=CREATED + 86_400 + 9999, skew_seconds=10_000).passed


def test_a_revoked_copy(artifact):
    name = verify(artifact).require().copy_id
    data = revoked("vg1-" + "0" * 20, name)
    fails(artifact, "revocation", f"{name} is revoked", revocations=data)
    fails(artifact, "revocation", f"{name} is revoked", revocations=read_revocations(data, KEY.public_key()))


@pytest.mark.parametrize(
    ("data", "now", "said"),
    [
        (revoked(next_update=CREATED + 1), CREATED + 302, "too old"),
        (revoked(issued_at=NOW + 301, next_update=NOW + 400), NOW, "from the future"),
        (revoked(key=OTHER), NOW, "another key"),
        (b"", NOW, "revoked copies"),
        (revoked()[:-1], NOW, "revoked copies"),
    ],
)
def test_a_list_that_cannot_be_relied_on(artifact, data, now, said):
    fails(artifact, "revocation", said, revocations=data, now=now)


def test_an_earlier_list_than_the_newest_that_was_seen(artifact):
    data = revoked()
    seq = read_revocations(data, KEY.public_key()).log.seq
    said = f"it ends at entry {seq} of the seller's log, and one of entry {seq + 1} was seen"
    fails(artifact, "revocation", said, revocations=data, list_since=seq + 1)
    assert f"entry {seq} of the seller's log" in verify(artifact, revocations=data, list_since=seq).steps[5].detail


def test_a_list_of_another_key_that_was_read_already(artifact):
    listed = read_revocations(revoked(key=OTHER), OTHER.public_key())
    fails(artifact, "revocation", "another signing key", revocations=listed)


def registry_row(manifest: ArtifactManifest) -> Step:
    return Step(number=99, name="registry", outcome="passed", detail=manifest.copy_id)


def log_chain(manifest: ArtifactManifest) -> Step:
    raise ConflictError("the log is broken")


def test_the_callers_checks_follow_and_are_numbered(artifact):
    found = verify(artifact, checks=[registry_row, log_chain, registry_row])
    assert [(step.number, step.name, step.outcome) for step in found.steps[6:]] == [
        (7, "registry", "passed"),
        (8, "log chain", "failed"),
        (9, "registry row", "skipped"),
    ]
    assert found.steps[7].detail == "the log is broken"
    assert not found.passed


def test_the_callers_checks_are_not_asked_about_what_failed(artifact):
    (artifact / "copy.vgc").write_bytes(b"")
    found = verify(artifact, checks=[log_chain])
    assert found.steps[-1].outcome == "skipped"
    assert found.manifest is None


def test_the_callers_own_mistakes_raise(artifact, tmp_path):
    with raises(NotFoundError, "folder"):
        verify(tmp_path / "none")
    with raises(FormatError, "PEM"):
        verify(artifact, public_key_pem=b"")


def test_manifests_come_back(artifact):
    manifest = verify(artifact).require()
    assert ArtifactManifest.from_dict(manifest.to_dict()) == manifest
    extended = manifest.changed(extra={"note": [1, 2]})
    assert ArtifactManifest.from_dict(extended.to_dict()) == extended
    assert extended.digest != manifest.digest
    assert "spec" not in manifest.to_dict()
    for clash in ("kind", "buyer"):
        with raises(FormatError, clash):
            manifest.changed(extra={clash: 1})
    for name in manifest.to_dict():
        with pytest.raises(FormatError):
            ArtifactManifest.from_dict({key: value for key, value in manifest.to_dict().items() if key != name})


def test_verifying_imports_no_torch():
    modules = "variegate.artifacts.verify, variegate.artifacts.export, variegate.artifacts.vgc, variegate.signing"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_model_signing_accepts_the_artifact_unchanged(artifact, tmp_path):
    import model_signing

    (tmp_path / "seller.pub").write_bytes(PEM)
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "seller.pub")
    config.verify(Path(artifact), Path(artifact) / "model.sig")
