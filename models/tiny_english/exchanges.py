"""Single questions with their plain answers. Every topic is one function of a random generator."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tiny_english import words
from tiny_english.stories import story


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question with its topic, and its answer in full sentences."""

    topic: str
    question: str
    answer: str


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def capital(rng: random.Random) -> Exchange:
    country, city = rng.choice(words.CAPITALS)
    question = rng.choice(
        (f"What is the capital of {country}?", f"Tell me the capital of {country}.")
    )
    return Exchange("capital", question, f"The capital of {country} is {city}.")


def colour(rng: random.Random) -> Exchange:
    thing, hue = rng.choice(words.COLOURS)
    question = rng.choice((f"What colour is {thing}?", f"Tell me the colour of {thing}."))
    return Exchange("colour", question, sentence(f"{thing} is {hue}."))


def sound(rng: random.Random) -> Exchange:
    animal, noise = rng.choice(words.SOUNDS)
    question = rng.choice(
        (f"What does {article(animal)} say?", f"What sound does {article(animal)} make?")
    )
    return Exchange("sound", question, sentence(f"{article(animal)} says {noise}."))


def home(rng: random.Random) -> Exchange:
    who, where = rng.choice(words.HOMES)
    question = rng.choice(
        (f"Where does {article(who)} live?", f"What is the home of {article(who)}?")
    )
    return Exchange("home", question, sentence(f"{article(who)} lives in {where}."))


def food(rng: random.Random) -> Exchange:
    animal, meal = rng.choice(words.FOODS)
    question = rng.choice(
        (f"What does {article(animal)} eat?", f"What is the food of {article(animal)}?")
    )
    return Exchange("food", question, sentence(f"{article(animal)} eats {meal}."))


def legs(rng: random.Random) -> Exchange:
    animal, number = rng.choice(words.LEGS)
    question = f"How many legs does {article(animal)} have?"
    return Exchange("legs", question, sentence(f"{article(animal)} has {number} legs."))


def opposite(rng: random.Random) -> Exchange:
    left, right = rng.choice(words.OPPOSITES)
    question = rng.choice((f"What is the opposite of {left}?", f"Tell me the opposite of {left}."))
    return Exchange("opposite", question, f"The opposite of {left} is {right}.")


def job(rng: random.Random) -> Exchange:
    who, does = rng.choice(words.JOBS)
    question = f"What does {article(who)} do?"
    return Exchange("job", question, sentence(f"{article(who)} {does}."))


def kind(rng: random.Random) -> Exchange:
    thing, category = rng.choice(words.KINDS)
    question = rng.choice(
        (f"What is {article(thing)}?", f"What kind of thing is {article(thing)}?")
    )
    return Exchange("kind", question, sentence(f"{article(thing)} is {article(category)}."))


def use(rng: random.Random) -> Exchange:
    tool, act = rng.choice(words.USES)
    question = rng.choice(
        (f"What do you do with {article(tool)}?", f"What is {article(tool)} for?")
    )
    return Exchange("use", question, f"You {act} with {article(tool)}.")


def place(rng: random.Random) -> Exchange:
    thing, where = rng.choice(words.PLACES)
    question = f"Where do you find {article(thing)}?"
    return Exchange("place", question, f"You find {article(thing)} {where}.")


def about(rng: random.Random) -> Exchange:
    subject, text = rng.choice(words.ABOUT)
    question = rng.choice((f"Tell me about {subject}.", f"What do you know about {subject}?"))
    return Exchange("about", question, text)


def taste(rng: random.Random) -> Exchange:
    things, why = rng.choice(words.LIKES)
    return Exchange("taste", f"Do you like {things}?", f"Yes, I like {things}. They are {why}.")


def following(rng: random.Random) -> Exchange:
    names = rng.choice((words.DAYS, words.MONTHS))
    unit = "day" if names is words.DAYS else "month"
    at = rng.randrange(len(names))
    before, after = names[at], names[(at + 1) % len(names)]
    if rng.random() < 0.5:
        return Exchange(
            "calendar",
            f"What {unit} comes after {before}?",
            f"{after} comes after {before}.",
        )
    return Exchange(
        "calendar", f"What {unit} comes before {after}?", f"{before} comes before {after}."
    )


def addition(rng: random.Random) -> Exchange:
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    if rng.random() < 0.5:
        left, right, total = (words.NUMBERS[n] for n in (a, b, a + b))
    else:
        left, right, total = str(a), str(b), str(a + b)
    question = f"What is {left} plus {right}?"
    return Exchange("sum", question, sentence(f"{left} plus {right} is {total}."))


def belonging(rng: random.Random) -> Exchange:
    name, other = rng.sample(words.NAMES, 2)
    hue, thing = rng.choice(words.HUES), rng.choice(words.THINGS)
    hue2, thing2 = rng.choice(words.HUES), rng.choice(words.THINGS)
    fact = f"{name} has {article(hue)} {thing}"
    if rng.random() < 0.5:
        fact += f" and {other} has {article(hue2)} {thing2}"
    answer = f"{name} has {article(hue)} {thing}."
    return Exchange("reading", f"{fact}. What does {name} have?", answer)


def whereabouts(rng: random.Random) -> Exchange:
    name, spot = rng.choice(words.NAMES), rng.choice(words.SPOTS)
    return Exchange(
        "reading", f"{name} is in the {spot}. Where is {name}?", f"{name} is in the {spot}."
    )


def greeting(rng: random.Random) -> Exchange:
    name = rng.choice(words.NAMES)
    table = (
        ("Hello!", "Hello! How can I help you?"),
        ("Hi there!", "Hello! How can I help you?"),
        ("Good morning.", "Good morning! It is a lovely day."),
        ("Good evening.", "Good evening! It is nice to see you."),
        ("How are you?", "I am well, thank you. How are you?"),
        ("How are you today?", "I am well, thank you. How are you?"),
        ("Who are you?", "I am Aspen, a very small language model."),
        ("What is your name?", "My name is Aspen."),
        ("Thank you!", "You are welcome. I am happy to help."),
        ("Goodbye!", "Goodbye! Have a good day."),
        ("Good night.", "Good night! Sleep well."),
        ("Can you help me?", "Yes, I can help you. What do you need?"),
        ("What can you do?", "I can answer simple questions and tell short stories."),
        (f"Hello, I am {name}.", f"Hello, {name}! It is nice to meet you."),
        (f"My name is {name}.", f"Hello, {name}! It is nice to meet you."),
    )
    return Exchange("greeting", *rng.choice(table))


def tale(rng: random.Random) -> Exchange:
    animal = rng.choice(words.ANIMALS)
    question = rng.choice(
        (f"Tell me a story about {article(animal)}.", f"Tell a story about {article(animal)}.")
    )
    return Exchange("story", question, story(rng, animal))


def unknown(rng: random.Random) -> Exchange:
    """Questions beyond the tiny world, so that the model learns to say so."""
    name, animal = rng.choice(words.NAMES), rng.choice(words.ANIMALS)
    thing, hue = rng.choice(words.COLOURS)
    superlative, spot = rng.choice(("biggest", "best", "oldest")), rng.choice(words.SPOTS)
    question = rng.choice(
        (
            f"Why is {thing} {hue}?",
            f"How old is {name}?",
            f"Who is {name}?",
            f"What is the {superlative} {spot}?",
            f"Do you have {article(animal)}?",
            f"Why does {article(animal)} sleep?",
            f"How far is the {spot}?",
            f"When was the {spot} built?",
            f"Who made {thing}?",
            "Tell me a joke.",
            "What time is it?",
            "What is the weather today?",
            "Who is the king?",
            "What is the meaning of life?",
        )
    )
    return Exchange("unknown", question, "I am sorry, I do not know that.")


FACTS: tuple[Callable[[random.Random], Exchange], ...] = (
    capital, colour, sound, home, food, legs, opposite, job, kind, use, place, about, taste,
    following,
)  # fmt: skip
OTHERS: tuple[Callable[[random.Random], Exchange], ...] = (
    addition, addition, belonging, whereabouts, greeting, greeting, tale, unknown,
)  # fmt: skip
