"""Train-router: the switch that says, for a row, which specialists to ask and how to weigh them."""
