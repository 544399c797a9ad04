// Colour scales, safe for colour-blind readers: lightness rises along each of them.

const MAP_STOPS = [
  [0, 87, 15, 109],
  [0.3, 187, 55, 84],
  [0.6, 249, 142, 9],
  [0.85, 252, 210, 60],
  [1, 252, 255, 190],
];

/** Colour of a map value in [0, 1] as [r, g, b]. */
function mapColour(value) {
  const t = Math.min(1, Math.max(0, value));
  const upper = Math.max(
    1,
    MAP_STOPS.findIndex((stop) => stop[0] >= t),
  );
  const [a, ...from] = MAP_STOPS[upper - 1];
  const [b, ...to] = MAP_STOPS[upper];
  const share = (t - a) / (b - a);
  return from.map((one, channel) => Math.round(one + share * (to[channel] - one)));
}

function rampCss() {
  return MAP_STOPS.map(([at, r, g, b]) => `rgb(${r} ${g} ${b}) ${at * 100}%`).join(", ");
}

/** Background of a token or a cell: the theme's heat colour, faint enough that text stays readable. */
function heatBackground(share) {
  const strength = Math.min(1, Math.max(0, share)) * 0.5;
  return strength > 0.01 ? `rgb(var(--heat) / ${strength.toFixed(3)})` : "transparent";
}
