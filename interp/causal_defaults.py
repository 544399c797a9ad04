"""Defaults that the causal map of a run gives: where to train an autoencoder, and which tokens to steer."""

from __future__ import annotations

from collections.abc import Sequence

from interp.run import Run


def default_site(run: Run, cached: Sequence[str]) -> tuple[str, str] | None:
    """(site, sentence that says why) of the cached site that the map favours; ``None`` without a map or an effect."""
    from steering.tracing.place import best_site, read_causal_map

    causal_map = read_causal_map(run.path)
    place = None if causal_map is None else best_site(causal_map, cached)
    if place is None:
        return None
    return place.site, (
        f"site {place.site} by the causal map: the deepest cached site at which {place.scope} still carries the "
        f"findings (effect {place.effect:.2f})"
    )


def site_warning(run: Run, site: str) -> str | None:
    """A warning if no token scope of a site has a causal effect on any finding of the map."""
    from steering.tracing.place import MIN_EFFECT, best_site, read_causal_map

    causal_map = read_causal_map(run.path)
    if causal_map is None or site not in set(causal_map["site"]) or best_site(causal_map, [site]) is not None:
        return None
    better = best_site(causal_map)
    advice = f"; they are carried at {better.site} on {better.scope}" if better is not None else ""
    return (
        f"the causal map shows no effect of {site} on any of its findings (all below {MIN_EFFECT:g}): features from "
        f"there can be decoded, but will steer nothing{advice}"
    )


def default_tokens(run: Run, sae: str, finding: str) -> tuple[str, str] | None:
    """(token scope, sentence that says why) at the site of an SAE; ``None`` without a map of that site."""
    from steering.tracing.place import best_scope, read_causal_map

    causal_map = read_causal_map(run.path)
    site = run.config_of(f"train-sae:{sae}")["site"]
    place = None if causal_map is None else best_scope(causal_map, site, finding)
    if causal_map is None or place is None:
        return None
    of = finding if finding in set(causal_map["key"]) else "its findings"
    said = f"tokens {place.scope} by the causal map: at {place.site} they carry {of} most (effect {place.effect:.2f})"
    return place.scope, said
