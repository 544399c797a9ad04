from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiology.errors import InputError
from radiology.phantom.factors import FINDING_KEYS, Factors, Nuisance, sample_factors, sample_nuisance
from radiology.phantom.person import heart_tables, person_of
from radiology.phantom.render import Rendered, render_frontal, render_lateral


def drawn(seed: int) -> tuple[Factors, Nuisance]:
    rng = np.random.default_rng(seed)
    factors = sample_factors(rng)
    return factors, sample_nuisance(rng, factors)


def present_keys(factors: Factors) -> list[str]:
    labels = factors.labels()
    return [key for key in FINDING_KEYS if labels[key] == "present"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize("render", [render_frontal, render_lateral])
def test_masks_are_those_of_the_present_labels_and_never_empty(render, seed: int) -> None:
    factors, nuisance = drawn(seed)
    picture: Rendered = render(factors, nuisance)
    assert list(picture.masks) == present_keys(factors)
    for mask in picture.masks.values():
        assert mask.shape == (140, 140)
        assert mask.dtype == bool
        assert mask.any()
    assert picture.image.shape == (140, 140)
    assert picture.image.dtype == np.uint8


@pytest.mark.parametrize("render", [render_frontal, render_lateral])
def test_the_same_arguments_give_the_same_picture(render) -> None:
    factors, nuisance = drawn(4)
    first, second = render(factors, nuisance), render(factors, nuisance)
    np.testing.assert_array_equal(first.image, second.image)
    for key, mask in first.masks.items():
        np.testing.assert_array_equal(mask, second.masks[key])


@pytest.mark.parametrize("field", ["rotation", "exposure", "noise"])
def test_the_film_changes_with_how_it_is_taken(field: str) -> None:
    nuisance = Nuisance(anatomy_seed=9)
    other = replace(nuisance, **{field: getattr(nuisance, field) + 0.3})
    assert (render_frontal(Factors(), nuisance).image != render_frontal(Factors(), other).image).any()


@pytest.mark.parametrize("name", ["effusion", "pneumothorax", "consolidation", "nodule"])
@pytest.mark.parametrize("seed", range(3))
def test_the_patients_left_is_on_the_viewers_right(name: str, seed: int) -> None:
    value = "large" if name in ("effusion", "pneumothorax") else "mid"
    nuisance = Nuisance(anatomy_seed=seed)
    for side, right_half in (("left", True), ("right", False)):
        factors = Factors(**{f"{name}_{side}": value})
        (mask,) = render_frontal(factors, nuisance).masks.values()
        centre = np.nonzero(mask)[1].mean()
        assert (centre > 70) == right_half


@pytest.mark.parametrize("name", ["effusion_left", "effusion_right", "pneumothorax_left", "pneumothorax_right"])
@pytest.mark.parametrize("seed", range(5))
def test_large_is_clearly_larger_than_small(name: str, seed: int) -> None:
    nuisance = Nuisance(anatomy_seed=seed, view="AP" if seed % 2 else "PA")
    small, large = (
        next(iter(render_frontal(Factors(**{name: size}), nuisance).masks.values())).sum()
        for size in ("small", "large")
    )
    assert large > 1.4 * small


def test_zones_follow_each_other_downwards() -> None:
    nuisance = Nuisance(anatomy_seed=2)
    for name in ("consolidation_right", "nodule_left"):
        heights = []
        for zone in ("upper", "mid", "lower"):
            (mask,) = render_frontal(Factors(**{name: zone}), nuisance).masks.values()
            heights.append(np.nonzero(mask)[0].mean())
        assert heights[1] - heights[0] > 12
        assert heights[2] - heights[1] > 12


def test_an_enlarged_heart_is_wider_than_any_normal_one() -> None:
    def ratio(seed: int, view: str, extra: float) -> float:
        person = person_of(Nuisance(anatomy_seed=seed, view=view))  # type: ignore[arg-type]
        right, left = heart_tables(person, extra)
        return float((right.max() + left.max()) / (2 * person.half_width))

    from radiology.phantom.lesions import HEART_EXTRA

    for view in ("PA", "AP"):
        normal = [ratio(seed, view, 0.0) for seed in range(60)]
        mild = [ratio(seed, view, HEART_EXTRA["mild"]) for seed in range(60)]
        marked = [ratio(seed, view, HEART_EXTRA["marked"]) for seed in range(60)]
        assert max(normal) < 0.5 < min(mild)
        assert max(mild) < min(marked)


@pytest.mark.parametrize("name", ["effusion_left", "pneumothorax_right", "consolidation_left", "nodule_right"])
def test_a_subtle_finding_is_fainter_but_there(name: str) -> None:
    value = "lower" if name.split("_")[0] in ("consolidation", "nodule") else "large"
    nuisance = Nuisance(anatomy_seed=6, noise=0.0)
    without = render_frontal(Factors(), nuisance).image.astype(float)
    clear = np.abs(render_frontal(Factors(**{name: value}), nuisance).image - without)
    faint_picture = render_frontal(Factors(**{name: value}, subtle=frozenset({name})), nuisance)
    faint = np.abs(faint_picture.image - without)
    (mask,) = faint_picture.masks.values()
    assert 0.3 < faint[mask].mean() / clear[mask].mean() < 0.75
    assert faint[mask].mean() > 5


def test_a_nodule_is_five_to_nine_pixels_wide() -> None:
    for seed in range(8):
        nuisance = Nuisance(anatomy_seed=seed, noise=0.0)
        change = np.abs(
            render_frontal(Factors(nodule_right="mid"), nuisance).image.astype(int)
            - render_frontal(Factors(), nuisance).image
        )
        wide = (change > 0.5 * change.max()).any(axis=0).sum()
        assert 4 <= wide <= 10


def test_every_size_shows_the_same_chest() -> None:
    factors, nuisance = drawn(21)
    nuisance = replace(nuisance, noise=0.0, marker=False)
    small, large = render_frontal(factors, nuisance, 140).image, render_frontal(factors, nuisance, 280).image
    shrunk = large.reshape(140, 2, 140, 2).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.985


def test_a_tiny_picture_is_refused() -> None:
    with pytest.raises(InputError, match="56"):
        render_frontal(Factors(), Nuisance(), 20)


def test_the_smallest_film_holds_every_side_letter() -> None:
    for seed in range(12):
        nuisance = Nuisance(anatomy_seed=seed, marker=True, source="ABC"[seed % 3])  # type: ignore[arg-type]
        assert render_frontal(Factors(), nuisance, size=56).image.shape == (56, 56)
