"""Captions with their right referral trees, written down from the rules before the code saw them.

The seven of `EXAMPLES` say what the rules mean and must come out exactly. Those of `WRITTEN` are
harder, and frozen: none of them was changed after the code had answered.
"""

EXAMPLES = {
    "A little girl in a pink dress climbs up the stairs to a wooden playhouse":
        "little girl · in · pink dress · climb up · stair · to · wooden playhouse",
    "A dog plays with a ball": "dog · – · – · play with · ball · – · –",
    "A man and a woman walk in the park": "man · and · woman · walk in · park · – · –",
    "A dog runs and jumps over a log": "dog · – · – · run · – · jump over · log",
    "There is a dog on the couch": "dog · – · – · on · couch · – · –",
    "Dog with a stick in its mouth running through water":
        "dog · with · stick · run through · water · – · –",
    "A man in a red shirt on a bike": "man · – · – · in · red shirt · on · bike",
}  # fmt: skip

WRITTEN = {
    # coordination
    "Two men and a woman are sitting on a bench": "man · and · woman · sit on · bench · – · –",
    "A black and white dog catches a frisbee in the air":
        "white dog · – · – · catch · frisbee · in · air",
    "The boy throws and the girl catches a ball": "boy · – · – · throw · – · catch · ball",
    "A man and a boy in a boat row on a river": "man · and · boy · row on · river · – · –",
    "A cat lies on the couch and a dog lies on the floor":
        "cat · – · – · lie on · couch · and · dog",
    "A tall man in black pants and a white shirt plays the saxophone":
        "tall man · in · black pants · play · saxophone · – · –",
    # there is
    "There are three children in a pool": "child · – · – · in · pool · – · –",
    "There is a man riding a horse on the beach": "man · – · – · ride · horse · on · beach",
    # no verb
    "Snow on a mountain": "snow · – · – · on · mountain · – · –",
    "A couple and their dog": "couple · – · – · and · dog · – · –",
    "People at a market": "people · – · – · at · market · – · –",
    "A brown dog , a black dog and a white dog":
        "brown dog · – · black dog · and · white dog · – · –",
    # passive
    "A little boy is being pushed on a swing by his father":
        "little boy · – · – · push on · swing · by · father",
    "A ball is thrown by a girl": "ball · – · – · throw by · girl · – · –",
    "A horse pulled by a man": "horse · – · – · pull by · man · – · –",
    # chains of participles and infinitives
    "A man climbing a rock holding a rope wearing a helmet":
        "man · – · – · climb · rock · hold · rope",
    "Dogs running and playing in the snow": "dog · – · – · run · – · play in · snow",
    "A surfer tries to stay on his board": "surfer · – · – · try · – · stay on · board",
    "A woman is about to kick a soccer ball": "woman · – · – · kick · soccer ball · – · –",
    # numbers and pronouns
    "5 people walk down 2 flights of stairs": "people · – · – · walk down · flight · of · stair",
    "He is looking at her through a window": "– · – · – · look at · – · through · window",
    "She gives him a present": "– · – · – · give · – · – · –",
    "Everyone is watching the parade": "– · – · – · watch · parade · – · –",
    "Three dogs , one of them brown , run on the grass": "dog · – · – · run on · grass · – · –",
    # questions
    "What is the dog chasing ?": "dog · – · – · chase · – · – · –",
    "Is the man playing a guitar ?": "man · – · – · play · guitar · – · –",
    # one word, nonsense, other alphabets
    "dog": "dog · – · – · – · – · – · –",
    "Jumping !": "– · – · – · jump · – · – · –",
    "!!! ??? ...": "– · – · – · – · – · – · –",
    "123 456": "– · – · – · – · – · – · –",
    "собака бежит по снегу": "– · – · – · – · – · – · –",
    # compounds and modifiers
    "A man in a leather jacket leans against a brick wall":
        "man · in · leather jacket · lean against · brick wall · – · –",
    "A fire truck parks next to a coffee shop":
        "fire truck · – · – · park next to · coffee shop · – · –",
    "The man's dog sleeps under the table": "man dog · – · – · sleep under · table · – · –",
    "A young , smiling girl jumps over a puddle":
        "smiling girl · – · – · jump over · puddle · – · –",
    "Women shopping at a farmers market": "woman · – · – · shop at · farmer market · – · –",
    # relative clauses and subordinate ones
    "The woman who is wearing a hat holds an umbrella":
        "woman · wear · hat · hold · umbrella · – · –",
    "A dog that has a stick swims across a lake": "dog · have · stick · swim across · lake · – · –",
    "The crowd cheers as the player scores a goal":
        "crowd · – · – · cheer · – · score · goal",
    "A girl dressed in a costume stands beside a pumpkin":
        "girl · dress in · costume · stand beside · pumpkin · – · –",
    # particles, adverbs, negation, several prepositions
    "A boy takes off his shoes": "boy · – · – · take off · shoe · – · –",
    "The kids line up for ice cream": "kid · – · – · line up · – · for · ice cream",
    "A skier flies through the air above the trees":
        "skier · – · – · fly through · air · above · tree",
    "A baby sleeps": "baby · – · – · sleep · – · – · –",
    "A bird sits on top of a statue": "bird · – · – · sit on top of · statue · – · –",
    "Workers repairing the roof of a house with hammers":
        "worker · – · – · repair · roof · of · house",
    "A man is not wearing a shirt": "man · – · – · wear · shirt · – · –",
    "An old woman slowly walks along a quiet street":
        "old woman · – · – · walk along · quiet street · – · –",
    "a man riding on the back of an elephant through a river":
        "man · – · – · ride on · back · of · elephant",
}  # fmt: skip


def places(tree: str) -> tuple[str | None, ...]:
    """A tree as written above, place by place."""
    return tuple(None if node == "–" else node for node in tree.split(" · "))
