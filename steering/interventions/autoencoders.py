"""Which autoencoder belongs to which site of a spec."""

from __future__ import annotations

from collections.abc import Mapping

from activations.hooks import canonical_site
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.spec import Intervention, SteeringSpec

#: One autoencoder, or one a site.
Autoencoders = MatryoshkaSAE | Mapping[str, MatryoshkaSAE] | None


def features_of(part: Intervention) -> tuple[tuple[int, str], ...]:
    """The features that an intervention names, its gate's included, with the name of the field."""
    named = [(feature, "features") for feature in part.features]
    if part.gate is not None and isinstance(part.gate.feature, int):
        named.append((part.gate.feature, "gate.feature"))
    return tuple(named)


def autoencoders_for(spec: SteeringSpec, sae: Autoencoders) -> dict[str, MatryoshkaSAE]:
    """Site → autoencoder, for the sites of a spec at which features are named.

    Raises:
        SteeringError: a site that needs an autoencoder and has none; one autoencoder for features of several sites.
    """
    needed: dict[str, str] = {}
    for number, part in enumerate(spec.resolved):
        for _, field in features_of(part):
            needed.setdefault(str(part.site), f"interventions[{number}].{field}")
    if not needed:
        return {}
    first, field = next(iter(needed.items()))
    if sae is None:
        raise SteeringError(f"{field}: the spec names features, so the autoencoder they belong to is needed")
    if not isinstance(sae, Mapping):
        if len(needed) > 1:
            second = list(needed)[1]
            raise SteeringError(
                f"{needed[second]}: features of {' and '.join(needed)}, and one autoencoder; give one a site, "
                f"{{{first!r}: …, {second!r}: …}}"
            )
        return {first: sae}
    known = {canonical_site(site): one for site, one in sae.items()}
    for site, field in needed.items():
        if site not in known:
            raise SteeringError(f"{field}: no autoencoder for site {site}; given are {sorted(known)}")
    return {site: known[site] for site in needed}
