"""PadChest-GR: grounded reports in two languages."""
