"""A study's copies are the experiment's, and everything that does not fit is refused in one sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from variegate.errors import ConfigurationError, FormatError, VariegateError
from variegate.evaluation.shards import ShardFolder
from variegate.evaluation.subjects import experiment_heads
from variegate.experiments.paper.shards import AttackShard, ReplayShard
from variegate.experiments.paper.study import CopyOf, StudySource, load_study
from variegate.models.bank import CopyBank


def test_copies_of_a_study(tiny_source: StudySource) -> None:
    study = load_study(tiny_source)
    assert len(study.originals) == 3
    assert study.images.shape == (60, 1, 8, 8)
    x = study.images[:8]
    original = study.originals[1]
    expected = CopyBank(original, experiment_heads(original, study.specs["qim"], copies=3, seed=0)).predict_all(x)
    assert torch.equal(study.bank(1, "qim", 3).predict_all(x), expected)
    assert torch.equal(study.classifier(CopyOf(1, "qim", 2)).predict(x), expected[:, 2])
    assert torch.equal(study.classifier(CopyOf(1)).predict(x), original.predict(x))
    assert sorted(study.order()) == list(range(60))
    assert study.order() == load_study(tiny_source).order()
    assert load_study(tiny_source) is study
    assert load_study(replace(tiny_source, test_limit=30)) is not study


def test_what_a_study_refuses(tiny_source: StudySource) -> None:
    with pytest.raises(ConfigurationError, match="at least one original"):
        replace(tiny_source, originals=())
    with pytest.raises(ConfigurationError, match="two of its originals have the same weights"):
        replace(tiny_source, originals=tiny_source.originals[:1] * 2)
    study = load_study(replace(tiny_source, specs={}))
    with pytest.raises(ConfigurationError, match="no spec for 'qim'; it has none"):
        study.head(CopyOf(0, "qim", 0))
    with pytest.raises(ConfigurationError, match="o0 is an original"):
        study.head(CopyOf(0))


def test_a_shard_is_computed_once_and_bound_to_its_settings(tiny_source: StudySource, tmp_path) -> None:
    def shard(queries: int) -> AttackShard:
        return AttackShard(
            source=tiny_source, attacker=CopyOf(0, "qim", 1), attack="hopskipjump", images=(3, 4), queries=queries
        )

    folder = ShardFolder(tmp_path / "shards")
    seen: list[int] = []
    folder.run([shard(60)], progress=lambda what, done, total: seen.append(done))
    assert seen == [0, 1000]
    arrays = folder.require(shard(60))
    assert arrays["adversarials"].shape == (2, 1, 8, 8)
    assert int(arrays["queries"].max()) <= 60 + 1
    (path,) = folder.folder.glob("*.npz")
    before = path.stat().st_mtime_ns
    folder.run([shard(60)])
    assert path.stat().st_mtime_ns == before
    (made,) = folder.made_by([shard(60)])
    assert made["shards"] == 1
    assert made["source"].startswith("sha256:")
    assert folder.get(shard(61)) is None  # other settings: not taken over
    folder.run([shard(61)])
    assert path.stat().st_mtime_ns == before  # nor overwritten
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="truncated"):
        folder.get(shard(60))
    path.write_bytes(next(other for other in folder.folder.glob("*.npz") if other != path).read_bytes())
    with pytest.raises(FormatError, match="another task"):
        folder.get(shard(60))
    path.unlink()
    with pytest.raises(ConfigurationError, match="is missing"):
        folder.require(shard(60))
    with pytest.raises(ConfigurationError, match="same name"):
        folder.run([shard(60), shard(61)])


def test_a_shard_names_the_gpu_that_was_used(tiny_source: StudySource, tmp_path, monkeypatch) -> None:
    """A process may have used one for another task."""
    shard = AttackShard(source=tiny_source, attacker=CopyOf(0), attack="geoda", images=(3,), queries=60)
    replay = ReplayShard(attack=shard, folder=tmp_path / "shards", copies=1)
    folder = ShardFolder(tmp_path / "shards")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    folder.run([shard])
    assert "gpu" not in folder.made_by([shard])[0]
    monkeypatch.setattr(AttackShard, "identity", property(lambda _: {"study": {"device": "cuda"}}))
    folder.run([shard])
    folder.run([replay])
    assert {made["gpu"] for made in folder.made_by([shard, replay])} == {"NVIDIA H100"}


def test_torch_is_left_as_it_was(tiny_source: StudySource, tmp_path, monkeypatch) -> None:
    shard = AttackShard(source=tiny_source, attacker=CopyOf(0), attack="geoda", images=(3,), queries=60)
    seen = []

    def run(_self: AttackShard) -> dict[str, np.ndarray]:
        seen.append((torch.get_num_threads(), torch.backends.cudnn.deterministic))
        raise VariegateError("stopped")

    monkeypatch.setattr(AttackShard, "run", run)
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic
    with pytest.raises(VariegateError, match="stopped"):
        ShardFolder(tmp_path / "shards").run([shard])
    assert seen == [(1, True)]
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == before


def test_shards_are_bound_to_the_data_and_to_the_manifests(tiny_source: StudySource, tmp_path) -> None:
    digests = set()
    for name, brighter in (("a", 0.0), ("b", 1 / 16)):
        source = replace(tiny_source, data=str(_npz(tmp_path, name, brighter)), test_limit=None)
        digests.add(str(source.identity))
    manifest, folder = tiny_source.originals[0]
    other = manifest.changed(mean=(0.25,), std=(1.0,))
    digests.add(str(replace(tiny_source, originals=((other, folder), *tiny_source.originals[1:])).identity))
    digests.add(str(tiny_source.identity))
    assert len(digests) == 4


def _npz(folder: Path, name: str, brighter: float) -> Path:
    """Write a data set whose first pixel differs."""
    path = folder / f"{name}.npz"
    images = np.full((12, 1, 8, 8), 0.5, dtype=np.float32)
    images[0, 0, 0, 0] += brighter
    labels = np.arange(12) % 10
    np.savez(path, images=images, labels=labels)
    return path


def test_a_folder_that_cannot_be_made(tiny_source: StudySource, tmp_path) -> None:
    (tmp_path / "shards").write_text("a file")
    task = AttackShard(source=tiny_source, attacker=CopyOf(0), attack="geoda", images=(5,), queries=60)
    with pytest.raises(VariegateError, match="shards"):
        ShardFolder(tmp_path / "shards").run([task])


def test_shards_are_the_same_in_other_processes(tiny_source: StudySource, tmp_path) -> None:
    tasks = [
        AttackShard(source=tiny_source, attacker=CopyOf(0), attack="geoda", images=(place,), queries=80)
        for place in (5, 6)
    ]
    here, there = ShardFolder(tmp_path / "here"), ShardFolder(tmp_path / "there")
    here.run(tasks)
    there.run(tasks, jobs=2)
    for task in tasks:
        a, b = here.require(task), there.require(task)
        for name in set(a) - {"seconds", "attack_seconds", "raw"}:
            np.testing.assert_array_equal(a[name], b[name])
