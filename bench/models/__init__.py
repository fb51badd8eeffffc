"""Models, each written for one trial; train.py batches them."""
