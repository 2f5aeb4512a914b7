"""Jobs as clients write and read them."""
