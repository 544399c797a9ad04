"""Refusing a spec that does not fit its model and autoencoder, before anything is generated."""

from __future__ import annotations

from activations.hooks import canonical_site
from activations.models.base import ReportModel
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.positions import image_number
from steering.interventions.spec import Grid, Intervention, SteeringSpec


def check_spec(spec: SteeringSpec, model: ReportModel, sae: MatryoshkaSAE | None) -> None:
    """Check what a spec cannot know by itself.

    Raises:
        SteeringError: naming the field: a site the model has not, a feature the SAE has not or that writes nothing, an
            SAE or direction of another width or trained at another site, a map or mask of another shape than the patch
            grid, an unknown image.
    """
    site = canonical_site(spec.site)
    if site not in model.sites():
        raise SteeringError(f"site: {model.name} has no {spec.site!r}; it has {', '.join(model.sites())}")
    width = model.width(site)
    _check_features(spec, sae, site, width)
    for intervention in spec.interventions:
        vector = None if intervention.direction is None else intervention.direction.vector
        _check_vector("interventions.direction", vector, width)
        for field, grid in intervention.grids:
            _check_grid(field, grid, model.grid)
    if spec.redirect is not None:
        _check_vector("redirect.vector", spec.redirect.vector, width)
    if spec.tokens.mask is not None:
        _check_grid("tokens.mask", spec.tokens.mask, model.grid)
    if spec.tokens.image is not None:
        image_number(spec.tokens.image)


def _check_features(spec: SteeringSpec, sae: MatryoshkaSAE | None, site: str, width: int) -> None:
    wanted = [(f, "interventions.features") for i in spec.interventions for f in i.features]
    if spec.gate is not None:
        wanted.append((spec.gate.feature, "gate.feature"))
    if not wanted:
        return
    if sae is None:
        raise SteeringError(f"{wanted[0][1]}: the spec names features, so the autoencoder they belong to is needed")
    if sae.d != width:
        raise SteeringError(f"site: {site} has width {width}, the autoencoder {sae.d}")
    trained_at = sae.extra.get("site")
    if trained_at and canonical_site(str(trained_at)) != site:
        raise SteeringError(f"site: the autoencoder was trained at {trained_at}, its features mean nothing at {site}")
    for feature, field in wanted:
        if not 0 <= feature < sae.n_features:
            raise SteeringError(f"{field}: {feature}; the autoencoder has features 0 … {sae.n_features - 1}")
    _check_alive(spec.interventions, sae)


def _check_alive(interventions: tuple[Intervention, ...], sae: MatryoshkaSAE) -> None:
    for intervention in interventions:
        for feature in intervention.features:
            if not bool(sae.W_dec[feature].any()):
                raise SteeringError(
                    f"interventions.features: feature {feature} has a decoder row of zeros; it writes nothing"
                )


def _check_vector(field: str, vector: tuple[float, ...] | None, width: int) -> None:
    if vector is not None and len(vector) != width:
        raise SteeringError(f"{field}: {len(vector)} numbers, the site's width is {width}")


def _check_grid(field: str, grid: Grid, expected: tuple[int, int]) -> None:
    shape = (len(grid), len(grid[0]))
    if shape != tuple(expected):
        raise SteeringError(f"{field}: shape {shape}, the model's patch grid is {tuple(expected)}")
