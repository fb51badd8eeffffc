"""Models, each written for one trial; `bench.training.lanes` batches them."""
