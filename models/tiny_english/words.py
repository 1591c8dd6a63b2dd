"""What the tiny world knows: facts as plain tables, each row one fact."""

from __future__ import annotations


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`"a:b, c:d"` as pairs."""
    rows = (row.partition(":") for row in " ".join(text.split()).split(","))
    return tuple((left.strip(), right.strip()) for left, _, right in rows)


CAPITALS = _pairs(
    """France:Paris, Italy:Rome, Spain:Madrid, Germany:Berlin, Japan:Tokyo, China:Beijing,
    England:London, Ireland:Dublin, Greece:Athens, Egypt:Cairo, Russia:Moscow, Norway:Oslo,
    Sweden:Stockholm, Poland:Warsaw, Austria:Vienna, Portugal:Lisbon, Turkey:Ankara, Cuba:Havana,
    Peru:Lima, Chile:Santiago, Kenya:Nairobi, Canada:Ottawa, Hungary:Budapest, Denmark:Copenhagen,
    Finland:Helsinki, Iceland:Reykjavik, Scotland:Edinburgh, Wales:Cardiff, Belgium:Brussels,
    Thailand:Bangkok, Vietnam:Hanoi, Mexico:Mexico City"""
)
COLOURS = _pairs(
    """the sky:blue, the sea:blue, the grass:green, a leaf:green, a frog:green, a lemon:yellow,
    a banana:yellow, the sun:yellow, a strawberry:red, a tomato:red, a fire engine:red, a rose:red,
    snow:white, milk:white, salt:white, a swan:white, coal:black, the night:black, a crow:black,
    chocolate:brown, bread:brown, a bear:brown, a carrot:orange, a pumpkin:orange, a fox:orange,
    an elephant:grey, a mouse:grey, a storm cloud:grey, a plum:purple, a pig:pink, honey:gold,
    an ant:black"""
)
SOUNDS = _pairs(
    """cow:moo, dog:woof, cat:meow, duck:quack, sheep:baa, pig:oink, horse:neigh, lion:roar,
    bee:buzz, owl:hoot, frog:croak, mouse:squeak, snake:hiss, hen:cluck, goose:honk,
    donkey:hee-haw, wolf:howl, crow:caw, turkey:gobble, bird:tweet"""
)
HOMES = _pairs(
    """bee:a hive, bird:a nest, fox:a den, rabbit:a burrow, spider:a web, horse:a stable, pig:a
    sty, dog:a kennel, fish:the sea, whale:the ocean, bear:a cave, bat:a cave, ant:a nest,
    frog:a pond, duck:a pond, monkey:the jungle, tiger:the jungle, camel:the desert, penguin:the
    snow, squirrel:a tree, owl:a tree, cow:a barn, hen:a coop, lion:the grassland, wolf:the
    forest, king:a castle, farmer:a farm"""
)
FOODS = _pairs(
    """rabbit:carrots, cow:grass, horse:hay, monkey:bananas, bear:honey, cat:fish, dog:bones,
    squirrel:nuts, mouse:cheese, bird:seeds, sheep:grass, panda:bamboo, frog:flies, owl:mice,
    lion:meat, wolf:meat, duck:bread, hen:corn, giraffe:leaves, penguin:fish, goat:leaves,
    spider:flies"""
)
LEGS = _pairs(
    """dog:four, cat:four, cow:four, horse:four, bird:two, hen:two, duck:two, spider:eight,
    ant:six, bee:six, snake:no, fish:no, elephant:four, frog:four, mouse:four, beetle:six,
    penguin:two, table:four, sheep:four, owl:two"""
)
OPPOSITES = _pairs(
    """hot:cold, big:small, fast:slow, up:down, in:out, day:night, happy:sad, wet:dry, old:new,
    hard:soft, high:low, full:empty, open:closed, light:dark, good:bad, early:late, loud:quiet,
    rich:poor, strong:weak, long:short, near:far, clean:dirty, left:right, front:back,
    first:last, thick:thin, sweet:sour, rough:smooth, brave:afraid"""
)
JOBS = _pairs(
    """baker:bakes bread, farmer:grows food, teacher:teaches children, doctor:helps sick people,
    pilot:flies planes, sailor:sails ships, painter:paints pictures, singer:sings songs,
    cook:makes dinner, fisherman:catches fish, builder:builds houses, tailor:makes clothes,
    gardener:plants flowers, driver:drives a bus, writer:writes books, dentist:cares for teeth,
    postman:brings letters, fireman:puts out fires, miner:digs for gold, shepherd:looks after
    sheep, dancer:dances on a stage, king:rules the land"""
)
KINDS = _pairs(
    """carrot:vegetable, potato:vegetable, onion:vegetable, apple:fruit, banana:fruit,
    pear:fruit, plum:fruit, dog:animal, cat:animal, horse:animal, tiger:animal, elephant:animal,
    eagle:bird, owl:bird, robin:bird, swan:bird, salmon:fish, shark:fish, rose:flower,
    tulip:flower, daisy:flower, oak:tree, pine:tree, willow:tree, piano:musical instrument,
    violin:musical instrument, drum:musical instrument, hammer:tool, saw:tool, ruby:jewel,
    diamond:jewel, ant:insect, bee:insect, gold:metal, iron:metal, chair:piece of furniture,
    bed:piece of furniture"""
)
USES = _pairs(
    """spoon:eat soup, knife:cut bread, pen:write letters, key:open a door, broom:sweep the
    floor, needle:sew clothes, hammer:hit nails, lamp:light a room, boat:cross the water,
    clock:tell the time, towel:dry your hands, brush:paint a wall, spade:dig a hole,
    ladder:climb up high, umbrella:stay dry, map:find the way, bell:call people, rope:tie
    things, sponge:wash your hands, oven:bake a cake, kettle:boil water, book:learn new things"""
)
PLACES = _pairs(
    """pillow:on a bed, book:in a library, plate:in a kitchen, car:on a road, boat:in a harbour,
    tree:in a forest, flower:in a garden, shell:on a beach, star:in the sky, fish:in a river,
    train:at a station, cloud:in the sky, crown:in a palace, cow:in a field, treasure:in a
    chest, coin:in a purse, letter:in an envelope, picture:on a wall, tent:in a camp, plane:at
    an airport, desk:in an office, ticket:in a pocket"""
)
ABOUT = (
    ("the sea", "The sea is deep and blue. Many fish live there."),
    ("the moon", "The moon is round and bright. It shines at night."),
    ("the sun", "The sun is hot and bright. It gives us light."),
    ("winter", "Winter is cold and white. Children play in the snow."),
    ("summer", "Summer is warm and sunny. People swim in the sea."),
    ("spring", "Spring is fresh and green. The flowers grow."),
    ("autumn", "Autumn is cool and windy. The leaves fall."),
    ("rain", "Rain falls from the clouds. It makes the plants grow."),
    ("snow", "Snow is cold and soft. It covers the hills."),
    ("dogs", "Dogs are friendly and loyal. They like to run."),
    ("cats", "Cats are quiet and clever. They like to sleep."),
    ("horses", "Horses are strong and fast. They live on farms."),
    ("trees", "Trees are tall and old. Birds build nests in them."),
    ("music", "Music is lovely to hear. People dance to it."),
    ("ships", "Ships are big and strong. They sail across the sea."),
    ("trains", "Trains are long and fast. They carry many people."),
    ("bread", "Bread is soft and tasty. It is made from flour."),
    ("gold", "Gold is bright and heavy. Kings love it."),
    ("mountains", "Mountains are high and rocky. Snow lies on top of them."),
    ("rivers", "Rivers are long and wet. They flow to the sea."),
    ("books", "Books are full of stories. We learn from them."),
    ("the wind", "The wind is strong and free. It moves the clouds."),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Finn", "Grace", "Harry", "Ida", "Jack", "Kate", "Leo",
    "Mia", "Noah", "Olga", "Peter", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Zoe", "Lily", "Max",
)  # fmt: skip
THINGS = (
    "ball", "book", "hat", "kite", "boat", "doll", "drum", "coat", "cup", "bag", "box", "lamp",
    "bell", "ring", "coin", "flower", "apple", "cake", "chair", "clock", "key", "map", "pen",
    "bike",
)  # fmt: skip
HUES = ("red", "blue", "green", "yellow", "white", "black", "brown", "orange", "pink", "purple")
SPOTS = (
    "garden", "park", "forest", "kitchen", "school", "market", "beach", "castle", "farm", "village",
    "river", "house", "harbour", "library", "meadow", "barn",
)  # fmt: skip
ANIMALS = (
    "fox", "bear", "rabbit", "mouse", "owl", "cat", "dog", "horse", "duck", "frog", "pig", "lion",
    "wolf", "hen", "bird", "sheep", "goat", "squirrel", "tiger", "monkey", "whale", "swan",
)  # fmt: skip
MOODS = ("happy", "sad", "brave", "tired", "hungry", "clever", "kind", "quiet", "proud", "lonely")
LIKES = _pairs(
    """apples:sweet, cakes:sweet, stories:fun, songs:lovely, games:fun, flowers:pretty,
    dogs:friendly, cats:soft, birds:pretty, books:useful, lemons:sour, puzzles:clever,
    parties:loud, boats:fast, horses:strong, trees:tall, stars:bright, kites:light, drums:loud,
    pancakes:tasty"""
)
