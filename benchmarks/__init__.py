"""How fast it is: each benchmark drives the real actors and prints its figures beside their budget."""
