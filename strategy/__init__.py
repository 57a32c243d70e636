"""What is decided: ladder, ranking, indicators, risk, charges. Pure: no clock, no I/O, no actor."""
