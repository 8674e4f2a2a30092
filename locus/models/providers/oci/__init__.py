"""Oracle Cloud Infrastructure's Generative AI service."""
