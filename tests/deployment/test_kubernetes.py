"""The manifests for Kubernetes, without a cluster: its own schemas, and that the parts name each other."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from aero_storage.settings import Settings
from aero_storage.workers.supervisor import KILL_SECONDS, STOP_SECONDS

PROJECT = Path(__file__).parents[2]
MANIFESTS = PROJECT / "etc/kubernetes"
VERSIONS = ("1.30", "1.33", "1.37")
"""The oldest for which the manifests are meant, one between, and the newest that is known here."""
MONITOR = json.loads(Path(__file__).with_name("servicemonitor.schema.json").read_text(encoding="utf-8"))
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted(MANIFESTS.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
BUILT_IN = [one for one in DOCUMENTS if one["kind"] != "ServiceMonitor"]


def find(kind: str, name: str = "aero-storage") -> dict[str, Any]:
    (found,) = [one for one in DOCUMENTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


REPLICAS = find("StatefulSet")["spec"]
POD = REPLICAS["template"]["spec"]
(CONTAINER,) = POD["containers"]
VALUES = {one["name"]: one["value"] for one in CONTAINER["env"]}
VOLUMES = {one["name"] for one in POD["volumes"]} | {
    one["metadata"]["name"] for one in REPLICAS["volumeClaimTemplates"]
}


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']}-{document['metadata']['name']}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", BUILT_IN, ids=named)
def test_schemas(document: dict[str, Any], version: str) -> None:
    """Kubernetes knows every field, and takes its value."""
    assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize("document", BUILT_IN, ids=named)
def test_schemas_find_faults(document: dict[str, Any]) -> None:
    """A field that nobody knows would be found."""
    wrong = copy.deepcopy(document)
    wrong["spec"]["replicaCount"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_monitor() -> None:
    """The Prometheus Operator knows every field of the ServiceMonitor, and would not know another."""
    validator = Draft202012Validator(MONITOR)
    monitor = find("ServiceMonitor")
    validator.validate(monitor)
    wrong = copy.deepcopy(monitor)
    wrong["spec"]["endpoints"][0]["tokenSecret"] = "aero-storage"
    with pytest.raises(ValidationError):
        validator.validate(wrong)


def test_parts_find_each_other() -> None:
    """Services, budget and monitor select what they are for; ports and volumes are named alike."""
    labels = REPLICAS["template"]["metadata"]["labels"]
    services = [find("Service"), find("Service", REPLICAS["serviceName"])]
    assert {frozenset(one["spec"]["selector"].items()) for one in services} == {frozenset(labels.items())}
    assert {port["targetPort"] for one in services for port in one["spec"]["ports"]} == {"http"}
    assert services[1]["spec"]["clusterIP"] == "None"
    assert find("PodDisruptionBudget")["spec"]["selector"] == REPLICAS["selector"] == {"matchLabels": labels}
    monitored = find("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    assert [monitored <= one["metadata"]["labels"].items() for one in services] == [False, True]
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == VOLUMES


def test_job_has_the_name_of_the_rules() -> None:
    """Metrics arrive under the job that alerts and dashboard ask for."""
    label = find("ServiceMonitor")["spec"]["jobLabel"]
    assert find("Service", REPLICAS["serviceName"])["metadata"]["labels"][label] == "aero-storage"
    assert 'job="aero-storage"' in (PROJECT / "etc/prometheus/aero-storage.rules.yml").read_text(encoding="utf-8")


def test_nothing_collides_with_settings() -> None:
    """Kubernetes adds no variables of its own, which would look like settings."""
    assert POD["enableServiceLinks"] is False


def test_secrets_are_referred_to() -> None:
    """No credential is in a manifest: none is a value, no manifest is a Secret."""
    assert "Secret" not in {one["kind"] for one in DOCUMENTS}
    assert not [name for name in VALUES if name.endswith(("_KEY", "_KEY_ID", "_TOKEN", "_SECRET"))]
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": "aero-storage-origin"}}]


def test_secrets_are_made_as_told() -> None:
    """The commands at the head of the file make the secrets that the manifests refer to."""
    head = (MANIFESTS / "statefulset.yaml").read_text(encoding="utf-8").partition("\napiVersion")[0]
    text = head.replace("\\\n#", " ").replace("#", "")
    commands = [shlex.split(line) for line in text.splitlines() if "create secret generic" in line]
    made = {words[words.index("generic") + 1] for words in commands}
    credentials = find("ServiceMonitor")["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert made == {"aero-storage-origin", credentials["name"]}
    assert f"--from-literal={credentials['key']}=…" in commands[1]
    assert VALUES["AERO_STORAGE_METRICS_AUTH_TOKEN_FILE"].endswith(f"/{credentials['key']}")


def test_little_is_open() -> None:
    """The daemon is nobody in particular, and can write nothing but its cache."""
    user = f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"
    assert f"\nUSER {user}\n" in (PROJECT / "etc/Dockerfile").read_text(encoding="utf-8")
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    writable = [one["mountPath"] for one in CONTAINER["volumeMounts"] if not one.get("readOnly")]
    assert [place for place in writable if VALUES["AERO_STORAGE_CACHE_DIR"].startswith(f"{place}/")] == writable


def test_cache_fits_its_volume() -> None:
    """A cache that is full for a moment, 1.2 times its limit, leaves 4 % of the volume."""
    (claim,) = REPLICAS["volumeClaimTemplates"]
    gibibytes = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert int(VALUES["AERO_STORAGE_CACHE_MAX_BYTES"]) * 1.2 <= 0.96 * (gibibytes << 30)


def test_time_to_stop() -> None:
    """Kubernetes kills later than streams have for their end."""
    grace = sum(int(VALUES[f"AERO_STORAGE_{name}_SECS"]) for name in ("DRAIN_DELAY", "SHUTDOWN_GRACE"))
    assert POD["terminationGracePeriodSeconds"] > grace + STOP_SECONDS + KILL_SECONDS
    probe = CONTAINER["readinessProbe"]
    assert int(VALUES["AERO_STORAGE_DRAIN_DELAY_SECS"]) >= probe["periodSeconds"] * probe["failureThreshold"]


def test_port() -> None:
    """The container's port is the one that the daemon listens at by default."""
    (port,) = CONTAINER["ports"]
    assert str(Settings().listen_addr).endswith(f":{port['containerPort']}")
    assert "AERO_STORAGE_LISTEN_ADDR" not in VALUES


def test_settings_are_known() -> None:
    """Each variable that begins as those of the daemon do is one of them."""
    page = (PROJECT / "docs/reference/settings.md").read_text(encoding="utf-8")
    ours = {name for name in VALUES if name.startswith("AERO_STORAGE_")}
    assert len(ours) > 5
    assert {name for name in ours if f"`{name}`" not in page} == set()
