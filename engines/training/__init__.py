"""Training: labelled pictures, what is made of them, and the networks that learn from them."""
