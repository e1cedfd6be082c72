"""What docs/how-to/private-images.md adds to the StatefulSet, by the schemas of Kubernetes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.docs.pages import PROJECT, blocks

from aero_storage.settings import resolve

NEWEST = "1.37"


@pytest.fixture
def added() -> dict[str, Any]:
    (block,) = blocks(PROJECT / "docs/how-to/private-images.md", "yaml")
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def test_schema(added: dict[str, Any]) -> None:
    """The StatefulSet with the leases is a valid one, and mounts each volume that is added."""
    document = yaml.safe_load((PROJECT / "etc/kubernetes/statefulset.yaml").read_text(encoding="utf-8"))
    pod = document["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["env"] += added["env"]
    container["volumeMounts"] += added["volumeMounts"]
    pod["volumes"] += added["volumes"]
    assert kubernetes_validate.validate(document, NEWEST, strict=True) == NEWEST
    assert [one["name"] for one in added["volumeMounts"]] == [one["name"] for one in added["volumes"]]
    assert all("subPath" not in one for one in added["volumeMounts"]), "it would never be renewed"


def test_files(added: dict[str, Any], tmp_path: Path) -> None:
    """The variables are the daemon's, name files in the volume, and nobody but the group reads these."""
    variables = {one["name"]: one["value"] for one in added["env"]}
    settings = resolve({}, variables, tmp_path).settings
    (mount,), (volume,) = added["volumeMounts"], added["volumes"]
    for path in (settings.lease_keys_file, settings.lease_revocations_file):
        assert str(path).startswith(mount["mountPath"] + "/")
    assert not volume["secret"]["defaultMode"] & stat.S_IRWXO
    assert volume["secret"]["defaultMode"] & stat.S_IRGRP
