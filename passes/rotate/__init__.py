"""Rotations that the graph proves free, and the affine parts of norms in the layers behind them."""
