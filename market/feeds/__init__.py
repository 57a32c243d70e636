"""Where prices come from: every feed speaks the items of `market.feeds.frame`."""
