"""octod: the doors people come through, and the director behind them."""
