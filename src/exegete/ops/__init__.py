"""Pure mathematics of explanation: arrays in, arrays out; no model, no text."""
