"""What a store holds, read as subjects: boards, answers of searches, imports, sides of a comparison, verification."""
