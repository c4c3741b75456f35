"""When a listing from outside is not believed, although it says that it is complete."""

VANISHED_SHARE = 0.2


def looks_broken(vanished: int, live: int, *, at_least: int) -> bool:
    """Are `vanished` of `live` entries too many to be gone at once?

    More than a fifth is more likely an empty database, a wrong URL or a filter in between. Fewer than `at_least` are
    always believed: a small installation loses that many in ordinary use.
    """
    return vanished >= at_least and vanished > VANISHED_SHARE * live
