"""The brokers behind one port: the paper exchange, its matching engine, rate limits, the circuit breaker."""
