"""Scores of one suite: definitions, intervals, leaderboard, guards, and scores over any knob."""
