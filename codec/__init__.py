"""What turns pictures into integers and back.  `encoder` and `decoder` are where it begins."""
