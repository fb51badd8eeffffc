"""Tables: one type for all, and what each shows."""
