"""What a store holds, read as subjects; publishing, verifying and importing them."""
