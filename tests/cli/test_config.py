"""The region and the profile, as the official command line keeps them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from ecs_waiter.cli.config import profile_names, resolve_region, use_profile
from ecs_waiter.cli.exit_codes import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Configure = Callable[[str], None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Write the configuration file of a home without any other."""
    for name in tuple(os.environ):
        if name.startswith("ALIBABA_CLOUD_"):
            monkeypatch.delenv(name)
    # What the code sets is taken back at the end only if it was here before.
    for name in ("CREDENTIALS_FILE", "ECS_METADATA_DISABLED", "PROFILE", "REGION_ID"):
        monkeypatch.setenv(f"ALIBABA_CLOUD_{name}", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    def write(text: str) -> None:
        (tmp_path / ".aliyun").mkdir(exist_ok=True)
        (tmp_path / ".aliyun" / "config.json").write_text(text)

    return write


TWO = json.dumps(
    {
        "current": "default",
        "profiles": [
            {"name": "default", "mode": "AK", "region_id": "cn-beijing"},
            {"name": "role", "mode": "EcsRamRole", "region_id": "us-west-1"},
            {"name": "bare", "mode": "AK"},
        ],
    }
)


def test_region(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option comes before the variable, the variable before the profile, the one named before the current."""
    configure(TWO)
    assert resolve_region(None) == "cn-beijing"
    monkeypatch.setenv("ALIBABA_CLOUD_PROFILE", "role")
    assert resolve_region(None) == "us-west-1"
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "eu-central-1")
    assert resolve_region(None) == "eu-central-1"
    assert resolve_region("cn-hangzhou") == "cn-hangzhou"


def test_no_region_is_named(configure: Configure) -> None:
    """Without any there is none: tasks may name their own."""
    assert resolve_region(None) is None


@pytest.mark.parametrize(("told", "source"), [("Beijing", "--region"), (None, "ALIBABA_CLOUD_REGION_ID")])
def test_misuse(configure: Configure, monkeypatch: pytest.MonkeyPatch, told: str | None, source: str) -> None:
    """What is no region is misuse, and says where it was told."""
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "evil.example.com/")
    with pytest.raises(MisuseError, match=f"{source}: a region's name looks like"):
        resolve_region(told)


def test_a_profile_asked_for_has_no_rivals(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of the environment, a file or the instance do not stand in for a profile asked for by name."""
    configure(TWO)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "eu-central-1")
    use_profile("default")
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" not in os.environ
    assert os.environ["ALIBABA_CLOUD_PROFILE"] == "default"
    assert os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] == "true"
    assert resolve_region(None) == "cn-beijing"


def test_a_profile_of_the_instances_role(configure: Configure) -> None:
    """A profile that is the instance's role may ask the instance."""
    configure(TWO)
    use_profile("role")
    assert os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] == ""
    use_profile("bare")
    assert resolve_region(None) == "us-west-1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TWO, "it has bare, default, role;"),
        ('{"profiles": {}}', "it has none;"),
        ('{"profiles": [1, {"name": 2}]}', "it has none;"),
        ("", r"the file is not JSON \(line 1, column 1\)"),
        ("[]", "the file is not a configuration"),
        ("[" * 100_000, "the file is not JSON"),
    ],
    ids=range(6),
)
def test_unknown_profile(configure: Configure, text: str, told: str) -> None:
    """An unknown profile is misuse, whatever the file holds; the message says what the file has or why it has none."""
    configure(text)
    with pytest.raises(MisuseError, match=rf"no profile 'nope' in .*config.json: {told}"):
        use_profile("nope")
    assert profile_names() == (["bare", "default", "role"] if text == TWO else [])


def test_no_file_of_profiles(configure: Configure, tmp_path: Path) -> None:
    """If there is no file, or it cannot be read, the message says so."""
    configure("")
    file = tmp_path / ".aliyun" / "config.json"
    file.unlink()
    with pytest.raises(MisuseError, match="the file does not exist"):
        use_profile("nope")
    file.mkdir()
    with pytest.raises(MisuseError, match=r"the file cannot be read \(Is a directory\)"):
        use_profile("nope")
