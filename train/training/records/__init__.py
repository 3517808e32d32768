"""What a run's folder says of itself: where it comes from and how it went; never what it learned."""
