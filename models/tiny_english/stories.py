"""Tiny stories of four or five sentences."""

from __future__ import annotations

import random

from tiny_english import words


def story(rng: random.Random, animal: str) -> str:
    """A story about `animal`, who meets someone, has a small trouble and a happy end."""
    name = rng.choice(words.NAMES)
    mood, spot = rng.choice(words.MOODS), rng.choice(words.SPOTS)
    hue, thing = rng.choice(words.HUES), rng.choice(words.THINGS)
    friend = rng.choice([other for other in words.ANIMALS if other != animal])
    coloured = f"{'an' if hue[0] in 'aeiou' else 'a'} {hue} {thing}"
    opening = rng.choice(
        (
            f"Once upon a time, there was a {mood} {animal} named {name}.",
            f"One day, a {mood} {animal} named {name} went to the {spot}.",
        )
    )
    trouble = rng.choice(
        (
            f"{name} found {coloured} near the {spot}.",
            f"{name} lost {coloured} near the {spot}.",
            f"{name} wanted to see the {spot}, but it was far away.",
        )
    )
    help_ = rng.choice(
        (
            f'A {friend} came by and said, "Let me help you."',
            f'A {friend} asked, "Do you want to play with me?"',
            f'A {friend} said, "Come with me, {name}."',
        )
    )
    end = rng.choice(
        (
            f"They played all day and {name} was happy.",
            f"{name} and the {friend} became good friends.",
            f"In the evening {name} went home and slept well.",
        )
    )
    return " ".join((opening, trouble, help_, end))
