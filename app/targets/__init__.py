"""What jobs call: the kinds, how each is carried out, and what goes out over the network."""
