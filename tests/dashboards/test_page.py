from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from dashboards.page import ASSETS, SCRIPTS, STYLES, assemble, plotly_script, script, style


def test_every_asset_is_in_the_page() -> None:
    assert sorted(path.name for path in ASSETS.iterdir()) == sorted((*SCRIPTS, *STYLES))
    page = assemble("x", [])
    assert script() in page
    assert style() in page


def test_the_policy_allows_the_two_known_scripts_and_no_network() -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', assemble("x", []))
    assert found
    policy = dict(part.strip().split(" ", 1) for part in found[1].split(";"))
    assert policy["default-src"] == "'none'"
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script(), plotly_script())}
    assert set(policy["script-src"].split()) == {f"'sha256-{one}'" for one in hashes}
    assert "http" not in found[1]


def test_the_policy_holds_for_the_script_as_the_browser_reads_it() -> None:
    inline = re.findall(r"<script>(.*?)</script>", assemble("x", []), flags=re.DOTALL)
    assert inline == [script()]
    assert "\r" not in script()


def test_scripts_make_no_markup_from_text() -> None:
    for path in ASSETS.glob("*.js"):
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path.name
        )


def test_a_title_is_text() -> None:
    assert "<title>&lt;b&gt; · interp</title>" in assemble("<b>", [])


def test_assets_stay_small() -> None:
    for path in ASSETS.iterdir():
        assert len(path.read_text().splitlines()) < 300, path.name


def test_package_is_light(tmp_path: Path) -> None:
    assert Path(__file__).parents[2].joinpath("dashboards", "__init__.py").read_text().count("import") == 0
