"""Refusing a spec that does not fit its model and autoencoders, before anything is generated."""

from __future__ import annotations

from activations.hooks import canonical_site
from activations.models.base import ReportModel
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.autoencoders import Autoencoders, autoencoders_for, features_of
from steering.interventions.grids import Grids, shape_of
from steering.interventions.positions import image_number
from steering.interventions.spec import Intervention, SteeringSpec
from steering.interventions.tokens import Tokens


def check_spec(spec: SteeringSpec, model: ReportModel, sae: Autoencoders) -> None:
    """Check what a spec cannot know by itself.

    Raises:
        SteeringError: naming the field by its path: a site the model has not, a feature the SAE has not or that writes
            nothing, an SAE or direction of another width or trained at another site, no SAE for a site, a map or mask
            of another shape than the patch grid, an unknown image.
    """
    parts = spec.resolved
    for number, part in enumerate(parts):
        own = spec.interventions[number].site is not None
        _check_site(f"interventions[{number}].site" if own else "site", part, model)
    saes = autoencoders_for(spec, sae)
    for number, part in enumerate(parts):
        path, site = f"interventions[{number}]", str(part.site)
        if features_of(part):
            _check_features(path, part, saes[site], model.width(site))
        if part.direction is not None:
            _check_vector(f"{path}.direction", part.direction.vector, site, model)
        for field, grid in part.grids:
            _check_grid(field.replace("interventions", path), grid, model.grid)
    for field, tokens in _all_tokens(spec):
        if tokens.mask is not None:
            _check_grid(f"{field}.mask", tokens.mask, model.grid)
        if tokens.image is not None:
            image_number(tokens.image)
    for site in spec.by_site:
        vector = None if spec.redirect is None else spec.redirect.at(site)
        if vector is not None:
            _check_vector("redirect.vector", vector, site, model)


def _all_tokens(spec: SteeringSpec) -> list[tuple[str, Tokens]]:
    own = [(f"interventions[{n}].tokens", part.tokens) for n, part in enumerate(spec.interventions) if part.tokens]
    return [("tokens", spec.tokens), *own]


def _check_site(field: str, part: Intervention, model: ReportModel) -> None:
    if part.site not in model.sites():
        raise SteeringError(f"{field}: {model.name} has no {part.site!r}; it has {', '.join(model.sites())}")


def _check_features(path: str, part: Intervention, sae: MatryoshkaSAE, width: int) -> None:
    site = str(part.site)
    if sae.d != width:
        raise SteeringError(f"site: {site} has width {width}, the autoencoder {sae.d}")
    trained_at = sae.extra.get("site")
    if trained_at and canonical_site(str(trained_at)) != site:
        raise SteeringError(f"site: the autoencoder was trained at {trained_at}, its features mean nothing at {site}")
    for feature, field in features_of(part):
        if not 0 <= feature < sae.n_features:
            raise SteeringError(f"{path}.{field}: {feature}; the autoencoder has features 0 … {sae.n_features - 1}")
    for feature in part.features:
        if not bool(sae.W_dec[feature].any()):
            raise SteeringError(f"{path}.features: feature {feature} has a decoder row of zeros; it writes nothing")


def _check_vector(field: str, vector: tuple[float, ...], site: str, model: ReportModel) -> None:
    if len(vector) != model.width(site):
        raise SteeringError(f"{field}: {len(vector)} numbers, the width of {site} is {model.width(site)}")


def _check_grid(field: str, grid: Grids, expected: tuple[int, int]) -> None:
    if shape_of(grid) != tuple(expected):
        raise SteeringError(f"{field}: shape {shape_of(grid)}, the model's patch grid is {tuple(expected)}")
