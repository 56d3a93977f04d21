"""Official files of published networks, read without running anything in them."""
