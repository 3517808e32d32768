"""One ear for many rooms: whose name is whose, and one thread that passes frames on. What they mean is never known."""
