"""The canary texts that ship: short passages of different domains whose loss a session's learning must not raise.

Written for this project. They are scored, never learned from, and do not appear in events or logs.
"""

CANARY_TEXTS: dict[str, str] = {
    "prose": (
        "The ferry left the harbour a little after seven, with the usual crowd of students and cooks on their way to "
        "work. It had rained in the night, and the deck was still dark and smelled of salt."
    ),
    "verse": (
        "O gentle night, that lends the weary rest,\nAnd folds the field in silver and in shade,\n"
        "Let not the morning find my heart oppressed\nBy any promise that the evening made."
    ),
    "facts": (
        "Water boils at a lower temperature on a mountain, because the air presses on it less. A day has twenty-four "
        "hours. If the door is locked, ask the owner for the key and do not force it."
    ),
}
