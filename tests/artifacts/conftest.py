import shutil

import pytest

from tests.artifacts.sold_copies import CREATED, KEY, LOG, sell
from variegate.artifacts.export import write_artifact
from variegate.artifacts.vgc_header import PassphraseRecipient
from variegate.keystore.sealing import SealingCost

CHEAP = SealingCost(memory_kib=8192, iterations=1, lanes=1)


@pytest.fixture
def export(tmp_path):
    """`export(artifact, **options)`: writes the artifact of a copy and returns its folder."""

    def write(artifact, sold=None, name="artifact", folder=None, **options):
        folder = folder or tmp_path / name
        sold = sold or sell()
        options = {"created_at": CREATED, "log": LOG, "signing": KEY, "key": sold.key, "copy": sold.copy} | options
        if artifact == "vgc":
            options.setdefault("recipient", PassphraseRecipient(b"pass", CHEAP))
        write_artifact(
            folder,
            artifact=artifact,
            copy_manifest=sold.copy_manifest,
            model_manifest=sold.model_manifest,
            **options,
        )
        return folder

    return write


@pytest.fixture(scope="module")
def sealed_artifact(tmp_path_factory):
    """A vgc artifact that expires; tests copy it before they change it."""
    sold = sell()
    place = tmp_path_factory.mktemp("sealed") / "artifact"
    write_artifact(
        place,
        artifact="vgc",
        copy_manifest=sold.copy_manifest,
        model_manifest=sold.model_manifest,
        copy=None,
        key=sold.key,
        signing=KEY,
        log=LOG,
        created_at=CREATED,
        expires_at=CREATED + 86_400,
        recipient=PassphraseRecipient(b"pass", CHEAP),
    )
    return place


@pytest.fixture
def artifact(sealed_artifact, tmp_path):
    return shutil.copytree(sealed_artifact, tmp_path / "mine")
