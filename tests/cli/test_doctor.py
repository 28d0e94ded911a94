"""The doctor finds the traps, exits with 1 for what is broken, and never fails itself."""

import json
from importlib.metadata import PackageNotFoundError

import pytest
from typer.testing import CliRunner

from variegate.authority import doctor
from variegate.cli.main import app


def by_name(result):
    return {check["name"]: check for check in json.loads(result.stdout)}


def test_a_sound_home(invoke, home):
    found = by_name(invoke("doctor", "--json"))
    assert found["home"] == {
        "name": "home",
        "state": "fine",
        "found": f"{home}: 2 models, 0 copies",
        "advice": "",
    }
    assert found["secret"]["found"].startswith("opens, identifier ")
    assert found["torch"]["state"] == "fine"
    text = invoke("doctor").stdout
    assert text.splitlines()[0].split() == ["CHECK", "STATE", "FOUND"]


def test_no_home_is_no_failure(invoke, tmp_path):
    assert by_name(invoke("doctor", "--home", tmp_path / "h", "--json"))["home"]["state"] == "absent"


@pytest.mark.parametrize("secret", ["00" * 32, "zz", None])
def test_a_wrong_or_missing_secret_is_broken(home, monkeypatch, secret):
    if secret is None:
        monkeypatch.delenv("VARIEGATE_SELLER_SECRET")
    else:
        monkeypatch.setenv("VARIEGATE_SELLER_SECRET", secret)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert by_name(result)["secret"]["state"] == "broken"


def test_a_corrupt_registry_is_broken(home):
    (home / "registry.db").write_bytes(b"nonsense" * 1000)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert "corrupt" in by_name(result)["home"]["found"]


def installed(versions):
    def version(package):
        if package in versions:
            return versions[package]
        raise PackageNotFoundError(package)

    return version


@pytest.mark.parametrize(
    ("versions", "state"),
    [
        ({"adversarial-robustness-toolbox": "1.20.1", "numpy": "2.4.6"}, "warning"),
        ({"adversarial-robustness-toolbox": "1.20.1", "numpy": "1.26.4"}, "fine"),
        ({"numpy": "2.4.6"}, "absent"),
    ],
)
def test_art_beside_numpy(monkeypatch, versions, state):
    monkeypatch.setattr(doctor, "version", installed(versions))
    assert doctor._art().state == state


def test_torchvision_that_does_not_import(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor, "version", installed({"torchvision": "0.28.0"}))
    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    check = doctor._torchvision()
    assert check.state == "warning"
    assert "nms does not exist" in check.found
    monkeypatch.setattr(doctor.importlib, "import_module", lambda name: None)
    assert doctor._torchvision().state == "fine"
    monkeypatch.setattr(doctor, "version", installed({}))
    assert doctor._torchvision().state == "absent"


def test_too_many_threads(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    check = doctor._threads()
    assert (check.state, check.found) == ("warning", "64 threads for 2 cores")
    assert "OMP_NUM_THREADS=2" in check.advice


def test_missing_extras_say_what_to_install(monkeypatch):
    monkeypatch.setattr(doctor, "version", installed({}))
    assert 'pip install "variegate[data]"' in doctor._optional("pyarrow", "data").advice
