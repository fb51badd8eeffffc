"""What seeds leave open: intervals, paired differences, rank ranges, and how many seeds would separate entries."""
