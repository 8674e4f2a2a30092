"""The providers whose own API Locus speaks."""
