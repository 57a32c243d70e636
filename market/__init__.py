"""What is known of the market: instruments, calendar, board, candles, history, and the feeds."""
