"""The list of what a release consists of names what is installed, as it is pinned."""

import json
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.releases import ROOT, project_version
from tests.support.sbom import needed, sbom

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TOOLS = {"pytest", "mypy", "zensical", "cyclonedx-bom"}


def test_it_names_every_dependency_in_its_pinned_version_with_hashes() -> None:
    listed = json.loads(sbom())

    npm = [one for one in listed["components"] if one["purl"].startswith("pkg:npm/")]
    found = {canonicalize_name(one["name"]): one for one in listed["components"] if one not in npm}
    asked = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]
    assert {one["name"]: one["version"] for one in npm} == asked
    assert [len(one["hashes"][0]["content"]) for one in npm] == [128]
    extra = PROJECT["optional-dependencies"]["otel"]
    wanted = {
        canonicalize_name(Requirement(one).name) for one in (*PROJECT["dependencies"], *extra)
    }
    pins = dict(
        re.findall(
            r"^([a-z0-9.-]+)==([^\s;]+)",
            (ROOT / "constraints.txt").read_text("utf-8"),
            re.MULTILINE,
        )
    )
    assert wanted <= found.keys() == needed()
    assert not found.keys() & TOOLS
    assert {name: one["version"] for name, one in found.items()} == {
        name: pins[name] for name in found
    }
    assert all(
        hashed
        for one in found.values()
        for hashed in [
            [given for way in one.get("externalReferences", ()) for given in way.get("hashes", ())]
        ]
    )
    assert listed["metadata"]["component"]["name"] == "tocsin"
    assert listed["metadata"]["component"]["version"] == project_version()
