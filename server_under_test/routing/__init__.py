"""Who subscribed to whom, who is connected where, and the way of a message to the fronts."""
