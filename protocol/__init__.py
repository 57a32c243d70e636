"""What is said: messages between actors, money, market time, order states. No I/O, no Trio, no import of ours."""
