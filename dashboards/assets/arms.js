// What the arms of a steering experiment are called.

const ARM_NAMES = {
  none: "steered",
  random: "control: random direction",
  random_group: "control: random features",
  wrong_sign: "control: wrong sign",
  equal_rate: "control: feature of equal rate",
  prompt_only: "control: asked for in the prompt",
  image: "control: the image itself changed",
};
const armName = (control) => ARM_NAMES[control] ?? words(control);

/** An arm with its strength, where it has one. */
const armAtStrength = ({ control, strength }) => armName(control) + (strength ? `, strength ${fixed(strength, 1)}` : "");
