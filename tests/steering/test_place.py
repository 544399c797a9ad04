from __future__ import annotations

import pytest

from steering.interventions.kinds import Add
from steering.interventions.spec import Direction, Intervention, SteeringSpec, Tokens
from steering.schema import CAUSAL_MAP_COLUMNS
from steering.tables import table_of
from steering.tracing.place import best_scope, best_site, place_warnings, read_blocks, read_causal_map
from steering.tracing.trace import trace_to_parquet

NAN = float("nan")


def causal_map(cells):
    """``{(key, site, scope): effect or (effect, low, high)}`` as a map."""
    rows = []
    for (key, site, scope), value in cells.items():
        effect, low, high = value if isinstance(value, tuple) else (value, value, value)
        rows.append({"key": key, "site": site, "scope": scope, "effect": effect, "low": low, "high": high})
    empty = {"gap": 5.0, "n": 4, "skipped": 0, "flip_rate": NAN, "flip_n": 0}
    return table_of([row | empty for row in rows], CAUSAL_MAP_COLUMNS)


LATE = causal_map(
    {("x", "projector", "prompt.image"): 1.0}
    | {("x", f"language.{b}", "prompt.image"): e for b, e in enumerate((1.0, 0.99, 0.3, 0.0))}
    | {("x", f"language.{b}", "prompt.text"): e for b, e in enumerate((0.0, 0.01, 0.4, 0.5))}
    | {("x", f"language.{b}", "generated"): e for b, e in enumerate((0.0, 0.0, 0.5, 1.0))}
)


def spec(site, *scopes):
    push = Intervention(Add(1.0), direction=Direction("push", (1.0, 0.0)))
    return SteeringSpec(site, (push,), Tokens(scopes))


def test_the_deepest_site_that_still_carries_all_is_the_default():
    place = best_site(LATE)
    assert (place.site, place.scope) == ("language.1", "prompt.image")
    assert best_site(LATE, ["blocks.2.hook_resid_post"]).scope == "prompt.text"
    # after the last block the report carries itself, which says nothing of where to read
    assert best_site(LATE, ["language.3"]).scope == "prompt.text"
    assert best_scope(LATE, "language.3", "x").scope == "generated"
    assert best_scope(LATE, "language.3", "unknown finding").scope == "generated"
    assert best_scope(LATE, "language.9") is None
    nothing = causal_map({("x", "language.0", "prompt.image"): NAN, ("x", "language.1", "prompt.image"): 0.01})
    assert best_site(nothing) is None


def test_a_place_without_effect_is_warned_about_and_no_other():
    [text] = place_warnings(spec("language.3", "prompt.image"), "x", LATE)
    assert "language.3" in text
    assert "prompt.image 0.00" in text
    assert "carried at language.1 on prompt.image" in text
    assert place_warnings(spec("language.3", "prompt.image", "prompt.text"), "x", LATE) == []
    assert place_warnings(spec("language.1", "prompt.image"), "x", LATE) == []
    assert place_warnings(spec("language.3", "prompt.image"), "not traced", LATE) == []
    wide = causal_map({("x", "language.3", "prompt.image"): (0.0, -0.2, 0.2)})  # the interval leaves room for an effect
    assert place_warnings(spec("language.3", "prompt.image"), "x", wide) == []


def test_a_finding_is_read_where_the_image_stops_carrying_all_of_it():
    assert read_blocks(LATE) == {"x": "language.2"}
    unread = causal_map({("y", "language.0", "prompt.image"): 1.0})
    assert read_blocks(unread) == {}


def test_the_map_of_a_run(tmp_path):
    assert read_causal_map(tmp_path) is None
    trace_to_parquet(LATE, tmp_path)
    assert read_causal_map(tmp_path).equals(LATE)


@pytest.mark.parametrize(
    ("variant", "depth"), [("phantom", "language.3"), ("phantom:free", "language.0")], ids=["late", "free"]
)
def test_the_map_finds_the_known_reading_depth(variant, depth):
    """``phantom`` cannot read before block 3; nothing bars ``phantom:free``, which reads an effusion in block 0."""
    from activations.models import open_model
    from steering.tracing.pairs import phantom_pairs
    from steering.tracing.trace import trace

    sites = [f"language.{block}" for block in (0, 2, 3)]
    pairs = phantom_pairs(["pleural_effusion:left"], 2, seed=101)
    found = trace(open_model(variant), pairs, sites=sites, scopes=["prompt.image", "generated"])
    cells = found.set_index(["site", "scope"])
    assert read_blocks(found) == {"pleural_effusion:left": depth}
    before = cells.loc[("language.2", "prompt.image")]
    if variant == "phantom":
        assert best_site(found).site == "language.2"
        assert before.low > 0.99
        assert abs(cells.loc[("language.2", "generated")].effect) < 1e-3
    else:
        assert before.high < 0.05
        assert place_warnings(spec("language.2", "prompt.image"), "pleural_effusion:left", found)
