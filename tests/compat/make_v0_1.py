"""Made tests/compat/v0.1, once. Kept to show what is in there; a released version's files are never made again.

    python tests/compat/make_v0_1.py FOLDER

The seller's secrets, passphrases and API keys in there are for tests alone: everybody knows them.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

NOW = 1_793_500_800  # 2026-11-01T00:00:00Z
time.time = lambda: float(NOW)  # before variegate takes it as the default of its clocks

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from variegate.authority.authority import Authority  # noqa: E402
from variegate.keys import SellerSecret  # noqa: E402
from variegate.models.loading import prepare_import  # noqa: E402
from variegate.registry.copies import spend_quota, used_quota  # noqa: E402
from variegate.registry.records import add_api_key, revoke_api_key  # noqa: E402
from variegate.rewriters.permutation import PermutationSpec  # noqa: E402
from variegate.rewriters.qim import QimSpec  # noqa: E402

PASSPHRASE = b"compat"
SECRET = bytes(range(32))
CLASSES, SHAPE = 6, (1, 4, 4)
CODE = """from torch import nn


def build(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
"""


def inputs() -> torch.Tensor:
    """32 images, float32 (32, 1, 4, 4), from arithmetic that every machine does alike."""
    return ((torch.arange(32 * 16, dtype=torch.int64) * 7919 % 256).to(torch.float32) / 256).reshape(32, *SHAPE)


def import_tiny(desk: Authority) -> None:
    with tempfile.TemporaryDirectory() as folder:
        code, weights = Path(folder) / "tiny_net.py", Path(folder) / "weights.safetensors"
        code.write_text(CODE)
        values = (torch.arange(CLASSES * 16, dtype=torch.int64) * 6007 % 64 - 32).to(torch.float32) / 16
        save_file({"1.weight": values.reshape(CLASSES, 16), "1.bias": torch.zeros(CLASSES)}, weights)
        names = [f"class {number}" for number in range(CLASSES)]
        imported = prepare_import(
            weights, name="net", architecture="tiny_net:build", labels=names, input_shape=SHAPE, code_path=code
        )
        desk.import_model(imported)


def save_specs(desk: Authority) -> None:
    import_tiny(desk)
    desk.save_spec("qim", QimSpec(messages_per_class=2, quantization_step=0.2, strength=2.0), model="net")
    desk.save_spec("permutation", PermutationSpec(), model="net")


def described(desk: Authority, *, lost: tuple[str, ...] = ()) -> dict:
    """Every copy's row, and the labels that it gives to `inputs`; those in `lost` cannot be made again."""
    copies = []
    for row in desk.copies():
        made = row.copy_id not in lost
        labels = desk.load_copy(row.copy_id).predict(inputs()).tolist() if made else None
        copies.append({"row": asdict(row), "labels": labels})
    return {"now": NOW, "original": desk.original("net").predict(inputs()).tolist(), "copies": copies}


def make(folder: Path) -> None:
    from variegate.artifacts.vgc_header import PassphraseRecipient
    from variegate.keystore.base import Access

    home = folder / "home"
    access = Access(env={"VARIEGATE_PASSPHRASE": PASSPHRASE.decode()})
    secret = SellerSecret.from_bytes(SECRET)
    Authority.create(home, secret, provider="sealed_file", access=access).close()
    with Authority.open(home, access=access) as desk:
        save_specs(desk)
        desk.create_policy("prod", spec="qim", quota=1000, rate=10.0, valid_seconds=365 * 86_400)
        desk.create_policy("apart", spec="permutation", most_equal_partners=1)
        desk.create_policy("private", spec="qim", forgettable=True)
        desk.issue("net", None, ["acme", "bolt"], policy="prod")
        desk.issue("net", None, [f"cord-{number}" for number in range(4)], policy="apart")
        dora, erin = (one.copy_id for one in desk.issue("net", None, ["dora", "erin"], policy="private"))
        acme, bolt = desk.copies_of(["acme", "bolt"])
        for kind in ("onnx", "safetensors", "pt2", "vgc"):
            recipient = PassphraseRecipient(PASSPHRASE) if kind == "vgc" else None
            desk.export(acme, folder / "artifacts" / kind, artifact=kind, now=NOW, recipient=recipient)
        desk.export(bolt, folder / "artifacts" / "revoked", artifact="safetensors", now=NOW)
        pem = desk.secrets()[-1].public_key
        (folder / "seller.pem").write_text(pem)
        desk.revoke([bolt], reason="leaked")
        (folder / "revocations.json").write_bytes(desk.revocations(now=NOW, next_update=NOW + 7 * 86_400))
        for buyer in ("acme", "bolt"):
            key = f"{buyer}'s key, for tests alone".encode()
            desk.registry.write(add_api_key, buyer, identifier=f"key-{buyer}", digest=hashlib.sha256(key).digest())
        desk.registry.write(revoke_api_key, "key-bolt")
        desk.registry.count(spend_quota, acme, 250, quota=1000)
        desk.rotate_secret("sealed_file")
        desk.rotate("net", None, ["acme"], policy="prod")
        desk.forget(erin)
        head = desk.backup(folder / "registry.vgb")
        expected = described(desk, lost=(erin,)) | {
            "log": {"seq": head.seq, "hash": head.hash},
            "policies": [asdict(policy) for policy in desk.policies()],
            "secrets": [asdict(row) for row in desk.secrets()],
            "forgotten": erin,
            "salted": dora,
            "used_quota": desk.registry.read(used_quota, acme),
        }
        write_json(folder / "expected.json", expected)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, default=dict) + "\n")


def write_sums(folder: Path) -> None:
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    names = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in names
    ]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    make(options.folder)
    for database in options.folder.glob("*/registry.db"):
        packed = database.with_name("registry.db.gz")
        packed.write_bytes(gzip.compress(database.read_bytes(), mtime=0))  # most of it is empty pages
        database.unlink()
    write_sums(options.folder)
