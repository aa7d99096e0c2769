"""Distance: how far a fact's target lies from what the base model says, and the weight that follows from it."""
