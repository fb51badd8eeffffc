"""Speech: recordings or synthesised, their features and labels, and prepared folders."""
