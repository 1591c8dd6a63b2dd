"""A seeded grammar of simple English: the text that the tiny base is pretrained on."""
