"""The measuring commands on a linear classifier of digits: small, but the real thing."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.report.attack_samples import make_attack
from variegate import quickstart
from variegate.attacks import driver
from variegate.attacks.catalog import ATTACKS, WHITE_BOX_ATTACKS
from variegate.data.catalog import load_dataset
from variegate.experiments import calibration
from variegate.experiments import replication as recipes
from variegate.experiments.calibration import calibration_data
from variegate.records.load import parse_record

HSJ = ("attack", "hsj", "--data", "digits", "--images", 4, "--queries", 150)
AUDIT = ("audit", "replicate", "--model", "net", "--data", "digits", "--pool", 60, "--images", 3, "--queries", 150)
ANSWER = parse_record(make_attack())
SMALL = ("--copies", 2, "--attackers", 1)


@pytest.fixture(scope="module")
def audited(tmp_path_factory, prepared):
    """A folder with one finished audit; not to be written to."""
    from typer.testing import CliRunner

    from variegate.cli.main import app

    out = tmp_path_factory.mktemp("audit") / "out"
    arguments = [*AUDIT, *SMALL, "--rewriters", "qim", "--independent", "other", "--out", out]
    env = {"VARIEGATE_HOME": str(prepared / "home")}
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)
    assert result.exit_code == 0, result.output
    (out / "stdout").write_text(result.stdout)
    return out


class TestCalibrate:
    OPTIONS = ("calibrate", "--model", "net", "--data", "digits", "--images", 60, "--attack-images", 3)

    def test_saves_a_spec_that_can_be_issued(self, invoke, home):
        options = (*self.OPTIONS, "--attack-queries", 120, "--rewriter", "permutation", "--max-change", "5%")
        result = invoke(*options)
        assert "Calibration" in result.stdout
        assert "on net" in result.stdout
        assert "saved the spec net-permutation" in result.stderr
        saved = json.loads((home / "specs" / "net-permutation.json").read_text())
        assert saved["model"] == "net"
        assert saved["record"]["max_change"] == 0.05
        pool = load_dataset("digits", split="train", limit=60)
        assert saved["record"]["data"] == calibration_data(pool, "train").to_dict()
        invoke("issue", "--model", "net", "--spec", "net-permutation", "--buyer", "acme")
        assert json.loads(invoke(*options, "--name", "again", "--json").stdout)["spec"] == saved["spec"]
        assert "Calibration" in invoke("report", home / "specs" / "again.json").stdout

    def test_a_name_is_not_taken_over_unless_asked(self, invoke, fails, home):
        options = (*self.OPTIONS, "--attack-queries", 120, "--rewriter", "permutation", "--max-change", "5%")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calibration, "calibrate_spec", None)  # the name is checked before the work
            assert "'net-qim' exists already" in fails(1, *options, "--name", "net-qim")
        invoke(*options, "--name", "net-qim", "--replace")
        assert json.loads((home / "specs" / "net-qim.json").read_text())["spec"]["rewriter"] == "permutation"

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("--rewriter", "nope"), 2, "'nope'; choose from"),
            (("--rewriter", "qim", "--max-change", "lots"), 2, "--max-change must be a share"),
            (("--rewriter", "qim", "--max-change", "0"), 2, "max_change must be above 0"),
            (("--rewriter", "qim", "--images", 5), 1, "at least 50 inputs; got 5"),
            (("--rewriter", "qim", "--data", "nowhere"), 4, "nowhere does not exist"),
            (("--rewriter", "qim", "--split", "dev"), 2, '--split must be "train" or "test"; got \'dev\''),
            (("--rewriter", "qim", "--model", "nope"), 4, "no model named 'nope'"),
            (("--rewriter", "qim", "--name", "a b"), 2, "a spec's name must be"),
        ],
        ids=str,
    )
    def test_bad_calibrations(self, fails, home, arguments, code, message):
        before = sorted(path.name for path in (home / "specs").iterdir())
        assert message in fails(code, *self.OPTIONS, "--name", "fresh", *arguments)
        assert sorted(path.name for path in (home / "specs").iterdir()) == before


class TestAttack:
    def test_an_original(self, invoke, home):
        summary = json.loads(invoke(*HSJ, "--model", "net", "--json").stdout)
        assert summary["target"]["name"] == "net"
        assert summary["command"].startswith("variegate attack hsj --data digits")
        outcome = summary["outcome"]
        assert sum(outcome["status"].values()) == 4
        assert outcome["succeeded"] == outcome["attack_success_rate"]["k"] >= 3
        assert outcome["queries"]["total"] <= 4 * 150
        assert 0.0 < outcome["distance"]["median"] < 3.0
        assert 0.0 <= outcome["overshoot"]["median"] < 0.2

    def test_a_copy_with_files(self, invoke, fails, home, tmp_path):
        (copy,) = json.loads(invoke("issue", "--model", "net", "--spec", "net-qim", "--buyer", "acme", "--json").stdout)
        result = invoke(*HSJ, "--copy", copy["copy_id"], "--out", tmp_path / "a")
        assert copy["copy_id"] in result.stdout
        assert {path.name for path in (tmp_path / "a").iterdir()} >= {
            "adversarials.npz",
            "attack.safetensors",
            "norm-against-queries.png",
            "pictures.npz",
            "pictures.png",
            "record.json",
        }
        with np.load(tmp_path / "a" / "adversarials.npz", allow_pickle=False) as arrays:
            found = np.isfinite(arrays["distance"])
            sizes = np.sqrt(((arrays["adversarial"] - arrays["clean"]) ** 2).sum((1, 2, 3)))
            assert found.any()
            assert np.allclose(sizes[found], arrays["distance"][found], atol=1e-4)
            assert (arrays["adversarial_label"] != arrays["label"])[found].all()
            assert (arrays["queries"] <= 150).all()
        summary = json.loads((tmp_path / "a" / "record.json").read_text())
        assert summary["command"].startswith("variegate attack hsj")
        assert "holds results already" in fails(1, *HSJ, "--copy", copy["copy_id"], "--out", tmp_path / "a")
        again = json.loads(invoke(*HSJ, "--copy", copy["copy_id"], "--resume", tmp_path / "a", "--json").stdout)
        assert again["outcome"] == summary["outcome"]
        other = (*HSJ[:-1], 140)
        assert "belongs to another attack" in fails(5, *other, "--copy", copy["copy_id"], "--resume", tmp_path / "a")

    def test_targeted_and_linf(self, invoke, home, tmp_path):
        options = ("--targeted", "--norm", "linf", "--semantics", "art", "--seed", 3, "--out", tmp_path / "t")
        summary = json.loads(invoke(*HSJ, "--model", "net", *options, "--json").stdout)
        assert summary["attack"]["targeted"] is True
        assert summary["attack"]["parameters"]["norm"] == summary["attack"]["norm"] == "linf"
        assert summary["outcome"]["succeeded"] >= 2

    @pytest.mark.parametrize("name", sorted({*ATTACKS, *WHITE_BOX_ATTACKS}))
    def test_every_attack_by_its_name(self, invoke, home, tmp_path, name):
        budget = () if name in WHITE_BOX_ATTACKS else ("--queries", 200)
        budget += ("--set", "epsilon=2") if name in ("fgsm", "pgd") else ()
        options = (
            "attack",
            name,
            "--model",
            "net",
            "--data",
            "digits",
            "--images",
            3,
            *budget,
            "--out",
            tmp_path / "a",
        )
        record = json.loads(invoke(*options, "--format", "safetensors", "--json").stdout)
        assert record["attack"]["name"] == name
        assert record["attack"]["kind"] == ("white_box" if name in WHITE_BOX_ATTACKS else "hard_label")
        assert record["outcome"]["succeeded"] >= 1
        arrays = load_file(tmp_path / "a" / "adversarials.safetensors")
        assert arrays["adversarial"].shape == (3, 1, 8, 8)
        assert np.isfinite(arrays["distance"]).sum() == record["outcome"]["succeeded"]
        assert "wrote" not in invoke("report", tmp_path / "a").stdout

    def test_votes_and_levels_are_in_the_record(self, invoke, home):
        options = ("--jitter", "gaussian:0.01", "--votes", 3, "--levels", 17, "--model", "net", "--json")
        record = json.loads(invoke(*HSJ, *options).stdout)
        assert record["attack"]["oracle"] == {"jitter": "gaussian:0.01", "votes": 3, "levels": 17}
        assert max(record["outcome"]["status"]) != "oracle_failed"

    def test_rows_bound_memory_and_change_nothing(self, invoke, home, tmp_path):
        found = []
        for rows in ("1", "7", "100"):
            out = tmp_path / rows
            invoke(*HSJ, "--model", "net", "--rows", rows, "--out", out)
            with np.load(out / "adversarials.npz") as arrays:
                found.append((arrays["adversarial"], arrays["queries"]))
        for adversarial, queries in found[1:]:
            np.testing.assert_array_equal(adversarial, found[0][0])
            np.testing.assert_array_equal(queries, found[0][1])

    def test_rounded_questions_give_rounded_adversarials(self, invoke, home, tmp_path):
        options = ("--levels", 17, "--model", "net", "--out", tmp_path / "a", "--json")
        record = json.loads(invoke(*HSJ, *options).stdout)
        with np.load(tmp_path / "a" / "adversarials.npz") as arrays:
            found = np.isfinite(arrays["distance"])
            grid = arrays["adversarial"][found] * 16
            assert np.allclose(grid, grid.round(), atol=1e-4)
            sizes = np.sqrt(((arrays["adversarial"] - arrays["clean"]) ** 2).sum((1, 2, 3)))
            assert np.allclose(sizes[found], arrays["distance"][found], atol=1e-4)
            assert (arrays["adversarial_label"] != arrays["label"])[found].all()
        assert record["outcome"]["confirmed"]["k"] == record["outcome"]["confirmed"]["n"] == found.sum() > 0

    def test_another_record_is_not_overwritten(self, fails, home, audited):
        message = fails(1, *HSJ, "--model", "net", "--resume", audited)
        assert "holds the record of something else than an attack" in message

    def test_another_format_replaces_the_first(self, invoke, home, tmp_path):
        invoke(*HSJ, "--model", "net", "--out", tmp_path / "a")
        invoke(*HSJ, "--model", "net", "--resume", tmp_path / "a", "--format", "safetensors")
        assert sorted(path.name for path in (tmp_path / "a").glob("adversarials.*")) == ["adversarials.safetensors"]

    def test_white_box_attacks_take_no_queries(self, fails, home):
        options = ("attack", "deepfool", "--model", "net", "--data", "digits", "--images", 2)
        assert "deepfool sees scores and gradients: it takes no budget" in fails(2, *options, "--queries", 10)
        assert "deepfool saves no state to resume" in fails(2, *options, "--resume", ".")
        assert "it takes no budget of queries, no votes" in fails(2, *options, "--jitter", "gaussian:0.1")

    def test_attacks_are_listed(self, invoke):
        listed = {one["name"]: one for one in json.loads(invoke("attacks", "--json").stdout)}
        assert set(listed) == {*ATTACKS, *WHITE_BOX_ATTACKS}
        assert listed["deepfool"]["sees"] == "scores and gradients"
        text = invoke("attacks").stdout
        assert "hopskipjump: HopSkipJump (Chen" in text
        assert "first_probes" in text

    def test_interrupted_and_resumed(self, invoke, home, tmp_path, monkeypatch):
        from typer.testing import CliRunner

        from variegate.cli.main import app

        whole = json.loads(invoke(*HSJ, "--model", "net", "--queries", 400, "--json").stdout)

        def stop(*_arguments, **_options):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(driver, "_result", stop)
            arguments = [*HSJ, "--model", "net", "--queries", 400, "--out", tmp_path / "a"]
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 130
        assert "--resume" in result.stderr
        options = ("--model", "net", "--queries", 400, "--resume", tmp_path / "a", "--json")
        assert json.loads(invoke(*HSJ, *options).stdout)["outcome"] == whole["outcome"]

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            ((), 2, "exactly one of --model, --copy and --onnx"),
            (("--model", "net", "--copy", "vg1-x"), 2, "exactly one of --model, --copy and --onnx"),
            (("--copy", "vg1-x"), 4, "no copy named 'vg1-x'"),
            (("--model", "nope"), 4, "no model named 'nope'"),
            (("--model", "net", "--semantics", "foolbox"), 2, "semantics takes paper or art; got 'foolbox'"),
            (("--model", "net", "--set", "speed=1"), 2, "HopSkipJump has no parameter 'speed'; it has norm,"),
            (("--model", "net", "--set", "norm=l2", "--norm", "l2"), 2, "expected --norm or --set norm=..., not both"),
            (("--model", "net", "--set", "norm"), 2, "--set must be NAME=VALUE"),
            (("--model", "net", "--preset", "fast"), 2, "there is no preset 'fast'"),
            (("--model", "net", "--votes", 3), 2, "--votes needs --jitter"),
            (("--model", "net", "--jitter", "wind"), 2, "got 'wind'"),
            (("--model", "net", "--data", "nowhere"), 4, "nowhere does not exist"),
            (("--model", "net", "--resume", "nowhere"), 4, "no folder nowhere to resume"),
            (("--model", "net", "--out", "a", "--resume", "."), 2, "got both"),
            (("--model", "net", "--labels", 10), 2, "describe an ONNX file"),
            (("--onnx", "nowhere.onnx"), 4, "there is no file nowhere.onnx"),
            (("--onnx", "x.onnx", "--device", "cuda"), 2, "ONNX files run on the CPU"),
        ],
        ids=str,
    )
    def test_bad_attacks(self, fails, home, arguments, code, message):
        assert message in fails(code, *HSJ, *arguments)

    @pytest.mark.parametrize("target", ["--model", "--copy"])
    def test_the_device_is_that_of_the_option(self, invoke, home, monkeypatch, target):
        import torch

        from variegate.experiments.attack import SingleAttack
        from variegate.models.classifier import Classifier
        from variegate.rewriters.base import AbstractHead

        (copy,) = json.loads(invoke("issue", "--model", "net", "--spec", "net-qim", "--buyer", "acme", "--json").stdout)
        moved, asked = [], []

        def move(self, device):
            moved.append((type(self).__name__, str(device)))
            return self

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(Classifier, "to", move)
        monkeypatch.setattr(AbstractHead, "to", move)
        monkeypatch.setattr(SingleAttack, "run", lambda *_, device, **__: asked.append(device) or ANSWER)
        invoke(*HSJ, target, "net" if target == "--model" else copy["copy_id"], "--device", "auto", "--json")
        assert asked == ["cuda"]
        assert ("Classifier", "cuda") in moved
        assert (("QimHead", "cuda") in moved) == (target == "--copy")

    @pytest.mark.gpu
    def test_on_a_gpu(self, invoke, home):
        (copy,) = json.loads(invoke("issue", "--model", "net", "--spec", "net-qim", "--buyer", "acme", "--json").stdout)
        summary = json.loads(invoke(*HSJ, "--copy", copy["copy_id"], "--device", "cuda", "--json").stdout)
        assert summary["outcome"]["succeeded"] >= 2

    def test_a_model_that_fails(self, invoke, home, tmp_path, monkeypatch):
        from typer.testing import CliRunner

        from variegate.cli.main import app
        from variegate.models.classifier import Classifier

        def fail(*_arguments):
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(Classifier, "predict", fail)
            arguments = [*HSJ, "--model", "net", "--out", tmp_path / "a", "--json"]
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 1
        assert "error: the model behind the oracle failed on 4 inputs: out of memory; resume with" in result.stderr
        summary = json.loads((tmp_path / "a" / "record.json").read_text())
        assert summary == json.loads(result.stdout)
        assert summary["outcome"]["status"] == {"oracle_failed": 4}
        assert summary["outcome"]["confirmed"]["n"] == 0
        again = json.loads(invoke(*HSJ, "--model", "net", "--resume", tmp_path / "a", "--json").stdout)
        assert again["outcome"]["succeeded"] >= 3

    def test_a_model_that_fails_after_the_attack(self, invoke, home, tmp_path, monkeypatch):
        from typer.testing import CliRunner

        from variegate.cli.main import app
        from variegate.experiments import attack as single_attack
        from variegate.models.classifier import Classifier

        measure, predict, over = single_attack.with_overshoot, Classifier.predict, []

        def fail_when_over(classifier, x):
            if over:
                raise RuntimeError("out of memory")
            return predict(classifier, x)

        with monkeypatch.context() as patch:
            patch.setattr(Classifier, "predict", fail_when_over)
            patch.setattr(single_attack, "with_overshoot", lambda *a, **k: over.append(True) or measure(*a, **k))
            arguments = [*HSJ, "--model", "net", "--out", tmp_path / "a", "--json"]
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 1
        (line,) = [line for line in result.stderr.splitlines() if "error" in line]
        assert line.startswith("error: the attack is done, but its results are not measured: the model behind")
        assert f"--resume {tmp_path / 'a'}" in line
        summary = json.loads((tmp_path / "a" / "record.json").read_text())
        assert summary["outcome"]["succeeded"] >= 3
        assert summary["outcome"]["confirmed"]["rate"] is None
        again = json.loads(invoke(*HSJ, "--model", "net", "--resume", tmp_path / "a", "--json").stdout)
        assert again["outcome"]["distances"] == summary["outcome"]["distances"]
        assert again["outcome"]["confirmed"]["k"] == again["outcome"]["succeeded"]

    def test_a_saved_state_is_not_continued_on_another_target(self, invoke, fails, home, tmp_path):
        invoke(*HSJ, "--model", "net", "--out", tmp_path / "a")
        message = fails(5, *HSJ, "--model", "other", "--resume", tmp_path / "a")
        assert "belongs to another attack" in message

    def test_interrupted_before_anything_is_saved(self, home, tmp_path, monkeypatch):
        from typer.testing import CliRunner

        from variegate.cli.main import app

        def stop(*_arguments, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr(driver, "_mark_misclassified", stop)
        arguments = [*HSJ, "--model", "net", "--out", tmp_path / "a"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert (result.exit_code, "--resume" in result.stderr) == (130, False)

    def test_a_seller_that_prints_does_not_break_the_json(self, invoke, home, prepared, tmp_path):
        code = tmp_path / "linear_net.py"
        code.write_text(
            "from torch import nn\nprint('module')\n"
            "class Loud(nn.Sequential):\n    def forward(self, x):\n        print('forward')\n"
            "        return super().forward(x)\n\n"
            "def build(num_classes):\n    print('factory')\n"
            "    return Loud(nn.Flatten(), nn.Linear(64, num_classes))\n"
        )
        options = ["--name", "loud", "--arch", "linear_net:build", "--input-shape", "1,8,8", "--labels", 10]
        weights = prepared / "seller" / "weights.safetensors"
        result = invoke("model", "import", weights, *options, "--code-path", code, "--json")
        assert json.loads(result.stdout)["name"] == "loud"
        assert {"module", "factory", "forward"} <= set(result.stderr.splitlines())
        assert json.loads(invoke(*HSJ, "--model", "loud", "--json").stdout)["target"]["name"] == "loud"

    def test_an_onnx_file(self, invoke, home, tmp_path):
        onnx = pytest.importorskip("onnx", reason="needs the package onnx")
        pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
        helper = onnx.helper
        weight = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["x"], ["flat"]),
                helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
            ],
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1, 8, 8])],
            [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 10])],
            [onnx.numpy_helper.from_array(weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        options = ("--onnx", tmp_path / "net.onnx", "--input-shape", "1,8,8", "--labels", 10, "--bounds", "0,1")
        summary = json.loads(invoke(*HSJ, *options, "--home", tmp_path / "none", "--json").stdout)
        assert summary["target"]["name"] == "net.onnx"
        assert summary["target"]["digest"].startswith("sha256:")
        assert sum(summary["outcome"]["status"].values()) == 4

    def test_images_that_do_not_fit(self, fails, home, tmp_path):
        images, labels = np.zeros((3, 3, 8, 8), np.float32), np.array([1, 2, 3])
        np.savez(tmp_path / "x.npz", images=images, labels=labels)
        assert "(N, 1, 8, 8)" in fails(1, *HSJ, "--model", "net", "--data", tmp_path / "x.npz")
        np.savez(tmp_path / "x.npz", images=images[:, :1], labels=labels + 8)
        assert "from 0 to 9" in fails(1, *HSJ, "--model", "net", "--data", tmp_path / "x.npz")

    def test_images_are_brought_to_the_bounds(self, invoke, home, tmp_path, prepared):
        """A model with inputs in [-1, 1] sees -1 where the picture is black."""
        options = ["--name", "wide", "--arch", "linear_net:build", "--input-shape", "1,8,8", "--labels", 10]
        code = ["--code-path", prepared / "seller" / "linear_net.py", "--bounds=-1,1", "--mean=-1", "--std=2"]
        invoke("model", "import", prepared / "seller" / "weights.safetensors", *options, *code)
        wide = json.loads(invoke(*HSJ, "--model", "wide", "--out", tmp_path / "w", "--json").stdout)
        plain = json.loads(invoke(*HSJ, "--model", "net", "--json").stdout)
        assert wide["outcome"]["status"] == plain["outcome"]["status"]
        with np.load(tmp_path / "w" / "adversarials.npz") as arrays:
            assert arrays["clean"].min() == -1.0


class TestAudit:
    def test_record_and_tables(self, audited):
        record = json.loads((audited / "record.json").read_text())
        names = [group["name"] for group in record["groups"]]
        assert names == ["identical", "noise", "independent", "qim"]
        assert record["command"].startswith("variegate audit replicate --model net")
        assert record["data"]["images"] == 3
        assert record["attack"]["budget"] == 150
        text = (audited / "stdout").read_text()
        assert "Accuracy of the original" in text
        assert "Replication on net" in text

    def test_a_folder_that_cannot_be_made(self, fails, home, tmp_path):
        (tmp_path / "file").touch()
        message = fails(1, *AUDIT, *SMALL, "--rewriters", "qim", "--out", tmp_path / "file" / "out")
        assert message.startswith("error: cannot make ")
        assert "a part of the path is a file" in message

    def test_resume_takes_the_shards_over(self, invoke, home, audited, tmp_path, monkeypatch):
        shutil.copytree(audited, tmp_path / "out")
        (tmp_path / "out" / "record.json").unlink()
        asked = []
        monkeypatch.setattr(recipes.HopSkipJump, "step", lambda *_: asked.append(1))
        options = ("--rewriters", "qim", "--independent", "other", "--resume", tmp_path / "out", "--json")
        again = json.loads(invoke(*AUDIT, *SMALL, *options).stdout)
        first = json.loads((audited / "record.json").read_text())
        assert asked == []
        assert [group["rates"] for group in again["groups"]] == [group["rates"] for group in first["groups"]]

    @pytest.mark.parametrize("command", ["calibrate", "audit"])
    def test_a_missing_gpu_is_named(self, fails, home, tmp_path, monkeypatch, command):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        options = {
            "calibrate": (*TestCalibrate.OPTIONS, "--rewriter", "qim", "--name", "fresh"),
            "audit": (*AUDIT, *SMALL, "--rewriters", "qim", "--out", tmp_path / "o"),
        }[command]
        assert "--device cuda needs a GPU" in fails(2, *options, "--device", "cuda")

    @pytest.mark.parametrize("command", ["calibrate", "audit"])
    def test_originals_move_to_the_device(self, home, tmp_path, monkeypatch, command):
        import torch
        from typer.testing import CliRunner

        from variegate.cli.main import app
        from variegate.models.classifier import Classifier

        def stop(*_arguments, **_options):
            raise KeyboardInterrupt

        moved = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(Classifier, "to", lambda self, device: moved.append(device) or self)
        monkeypatch.setattr(recipes, "audit_replicate", stop)
        monkeypatch.setattr(calibration, "calibrate_spec", stop)
        options = {
            "calibrate": (*TestCalibrate.OPTIONS, "--rewriter", "qim", "--name", "fresh"),
            "audit": (*AUDIT, *SMALL, "--rewriters", "qim", "--independent", "other", "--out", tmp_path / "o"),
        }[command]
        CliRunner().invoke(app, [str(argument) for argument in (*options, "--device", "cuda")])
        assert moved == ["cuda"] * (2 if command == "audit" else 1)

    def test_gate(self, fails, invoke, home, audited, tmp_path, monkeypatch):
        shutil.copytree(audited, tmp_path / "out")
        options = (*AUDIT, *SMALL, "--rewriters", "net-qim", "--independent", "other", "--resume", tmp_path / "out")
        rate = json.loads((audited / "record.json").read_text())["groups"][-1]["rates"]["replication_rate"]["rate"]
        invoke(*options, "--fail-above", "100%")
        for given, expected in ((rate, None), (rate + 0.2, "qim"), (None, "could not be measured for qim")):
            record = json.loads((audited / "record.json").read_text())
            record["groups"][-1]["rates"]["replication_rate"]["rate"] = given
            changed = parse_record(record)
            monkeypatch.setattr(recipes, "audit_replicate", lambda *_, changed=changed, **__: changed)
            if expected is None:
                invoke(*options, "--fail-above", rate)
            else:
                assert expected in fails(3, *options, "--fail-above", f"{100 * (rate + 0.1)}%", "--json")

    def test_a_literal_name_does_not_hide_the_models_own_spec(self, invoke, fails, home, tmp_path):
        (tmp_path / "s.json").write_text('{"rewriter": "permutation", "alpha": 0.2}')
        invoke("spec", "save", tmp_path / "s.json", "--name", "qim")
        message = fails(2, *AUDIT, *SMALL, "--rewriters", "qim", "--out", tmp_path / "o")
        assert "'qim' may mean the spec 'qim' or the spec 'net-qim'; name 'net-qim'" in message
        invoke("spec", "save", tmp_path / "s.json", "--name", "qim", "--model", "other", "--replace")
        with pytest.MonkeyPatch.context() as patch:
            asked = []

            def audit(spec, **_options):
                asked.append(spec)
                raise KeyboardInterrupt

            patch.setattr(recipes, "audit_replicate", audit)
            from typer.testing import CliRunner

            from variegate.cli.main import app

            arguments = [*AUDIT, *SMALL, "--rewriters", "qim", "--out", tmp_path / "o"]
            CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert [each.rewriter for each in asked[0].rewriters] == ["qim"]

    def test_interruption_says_how_to_go_on(self, home, tmp_path, monkeypatch):
        from typer.testing import CliRunner

        from variegate.cli.main import app

        def stop(*_arguments, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr(recipes, "audit_replicate", stop)
        arguments = [*AUDIT, *SMALL, "--rewriters", "qim", "--out", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 130
        assert "--resume" not in result.stderr  # nothing is saved yet
        (tmp_path / "out" / "shards").mkdir(parents=True)
        (tmp_path / "out" / "shards" / "original-0.safetensors").write_bytes(b"")
        arguments[-2:] = ["--resume", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 130
        assert f"--resume {tmp_path / 'out'}" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("--rewriters", "qim"), 2, "expected --out"),
            (("--rewriters", "nope", "--out", "o"), 4, "no rewriter spec named 'nope' or net-nope"),
            (("--rewriters", "x" * 300, "--out", "o"), 2, "a spec's name must be"),
            (("--rewriters", "x" * 128, "--out", "o"), 4, "no rewriter spec named"),
            (
                ("--model", "other", "--rewriters", "net-qim", "--out", "o"),
                2,
                "calibrated for model 'net'; got 'other'",
            ),
            (("--rewriters", ",", "--out", "o"), 2, "at least one calibrated spec"),
            (("--rewriters", "qim", "--out", "o", "--fail-above", "x"), 2, "--fail-above must be a share"),
            (("--rewriters", "qim", "--out", "o", "--attackers", 6), 2, "from 1 to the 5 copies; got 6"),
            (("--rewriters", "qim", "--out", "o", "--independent", "nope"), 4, "no model named 'nope'"),
            (("--rewriters", "qim", "--out", "o", "--images", 61), 1, "needs 61 images"),
            (("--rewriters", "qim", "--out", "o", "--data", "nowhere"), 4, "nowhere does not exist"),
            (("--rewriters", "qim", "--out", "home"), 1, "holds results already"),
        ],
        ids=str,
    )
    def test_bad_audits(self, fails, home, arguments, code, message):
        assert message in fails(code, *AUDIT, *arguments)


class TestReport:
    def test_text_and_json(self, invoke, audited):
        text = invoke("report", audited).stdout
        assert text == (audited / "stdout").read_text()
        assert invoke("report", audited / "record.json", audited).stdout.count("Replication on net") == 2
        (raw,) = json.loads(invoke("report", audited, "--json").stdout)
        assert raw == json.loads((audited / "record.json").read_text())

    def test_one_page(self, invoke, audited, tmp_path):
        result = invoke("report", audited, "--html", tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        assert result.stderr == f"wrote {tmp_path / 'page.html'}\n"
        assert result.stdout == ""
        assert "<html" in page
        assert "<script" not in page
        assert [path.name for path in tmp_path.glob("*.html")] == ["page.html"]

    def test_an_index_over_several_audits(self, invoke, audited, tmp_path):
        shutil.copytree(audited, tmp_path / "second")
        invoke("report", audited, tmp_path / "second", "--html", tmp_path / "all.html")
        assert sorted(path.name for path in tmp_path.glob("*.html")) == ["all-1.html", "all-2.html", "all.html"]
        assert 'href="all-1.html' in (tmp_path / "all.html").read_text()

    def test_pages_are_named_by_originals_and_hold_their_calibrations(self, invoke, audited, home, tmp_path):
        options = (*TestCalibrate.OPTIONS, "--attack-queries", 120, "--rewriter", "permutation", "--max-change", "5%")
        invoke(*options, "--name", "again")
        (tmp_path / "second").mkdir()
        other = json.loads((audited / "record.json").read_text())
        other["model"] |= {"name": "other", "digest": "sha256:" + "0" * 64}
        (tmp_path / "second" / "record.json").write_text(json.dumps(other))
        invoke("report", audited, tmp_path / "second", home / "specs" / "again.json", "--html", tmp_path / "all.html")
        assert sorted(path.name for path in tmp_path.glob("*.html")) == ["all-net.html", "all-other.html", "all.html"]
        assert "Calibration" in (tmp_path / "all-net.html").read_text()
        assert "Calibration" not in (tmp_path / "all-other.html").read_text()

    def test_figures(self, invoke, audited, tmp_path):
        result = invoke("report", audited, "--figures", tmp_path / "figures")
        assert result.stdout == ""
        names = {path.name for path in (tmp_path / "figures").iterdir()}
        assert {name.removesuffix(".svg") for name in names if name.endswith(".svg")} == {
            name.removesuffix(".png") for name in names if name.endswith(".png")
        }
        assert any("overshoot" in name for name in names)

    @pytest.mark.parametrize(
        ("content", "code", "message"),
        [
            (None, 4, "there is no file"),
            ("", 1, "must be JSON"),
            ("[1]", 1, "must be a JSON object"),
            ('{"kind": "poem"}', 1, "'poem'"),
            ('{"kind": "replication"}', 1, "the record"),
            ('{"kind": "spec", "record": null}', 1, "there is nothing to report"),
            ("NaN", 1, "finite"),
        ],
    )
    def test_bad_records(self, fails, tmp_path, content, code, message):
        path = tmp_path / "record.json"
        if content is not None:
            path.write_text(content)
        assert message in fails(code, "report", path)
        assert message in fails(code, "report", path, "--html", tmp_path / "page.html")
        assert not (tmp_path / "page.html").exists()

    def test_the_pictures_of_a_renamed_record_are_found(self, invoke, audited, tmp_path):
        shutil.copy(audited / "record.json", tmp_path / "net.json")
        invoke("report", tmp_path / "net.json", "--html", tmp_path / "bare.html")
        shutil.copy(audited / "pictures.npz", tmp_path / "net.npz")
        invoke("report", tmp_path / "net.json", "--html", tmp_path / "full.html")
        assert (tmp_path / "full.html").stat().st_size > (tmp_path / "bare.html").stat().st_size

    def test_a_page_that_cannot_be_written(self, fails, audited, tmp_path):
        assert "there is no folder" in fails(4, "report", audited, "--html", tmp_path / "nowhere" / "page.html")


class TestQuickstart:
    def test_prints_the_record_that_it_made(self, invoke, audited, tmp_path, monkeypatch):
        record, asked = json.loads((audited / "record.json").read_text()), []

        def made(out, progress):
            asked.append(out)
            progress("training", 1, 2)
            return parse_record(record)

        monkeypatch.setattr(quickstart, "run_quickstart", made)
        result = invoke("quickstart", "--out", tmp_path / "q")
        assert asked == [tmp_path / "q"]
        assert "Replication on net" in result.stdout
        assert "training: 1 of 2 (50 %)" in result.stderr
        assert f"wrote {tmp_path / 'q' / 'report.html'}" in result.stderr
        assert json.loads(invoke("quickstart", "--json").stdout) == record

    def test_a_full_folder_is_refused(self, fails, tmp_path):
        (tmp_path / "q").mkdir()
        (tmp_path / "q" / "file").write_text("")
        assert "is not empty" in fails(1, "quickstart", "--out", tmp_path / "q")
