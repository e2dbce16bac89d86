"""The yardsticks: a bare C loop, and the driver that prints ratios to it. For development; users need no compiler."""
