"""Commands for whoever runs an experiment: the plan, its cost, refits, garbage."""
