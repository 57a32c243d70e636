"""The parts of an order router: what positions ask, what the broker says, and what is remembered of both."""
