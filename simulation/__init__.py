"""The other end: broker servers over a simulated or recorded market, and the trouble they can make."""
