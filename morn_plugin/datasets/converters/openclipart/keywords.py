"""Chooses the keywords that become labels."""

from collections import Counter
from collections.abc import Collection, Iterable

STOP_KEYWORDS = {
    '': 'an empty `rdf:li`',
    'hash': 'left behind by an old export on every fourth picture',
    'unsorted': 'a folder, not a content',
    'special': 'a folder, not a content',
    'architetto francesco rollandin': 'an author',
}
ALIASES = {
    # Spelling twins only: pairs of keywords that differ only in plural, hyphen or a missing
    # underscore, and that have at least 15 pictures together. Synonyms (transport, transportation)
    # stay separate.
    'animals': 'animal',
    'arrows': 'arrow',
    'books': 'book',
    'buildings': 'building',
    'buttons': 'button',
    'clouds': 'cloud',
    'containers': 'container',
    'decorations': 'decoration',
    'desserts': 'dessert',
    'flags': 'flag',
    'flowers': 'flower',
    'fruits': 'fruit',
    'games': 'game',
    'holidays': 'holiday',
    'houses': 'house',
    'icons': 'icon',
    'latinamerica': 'latin_america',
    'logos': 'logo',
    'mammals': 'mammal',
    'maps': 'map',
    'mime-types': 'mimetypes',
    'networks': 'network',
    'northamerica': 'north_america',
    'plants': 'plant',
    'shapes': 'shape',
    'signs': 'sign',
    'southamerica': 'south_america',
    'sport': 'sports',
    'state': 'states',
    'symbols': 'symbol',
    'tools': 'tool',
    'toys': 'toy',
    'trees': 'tree',
    'vegetables': 'vegetable',
    'vehicles': 'vehicle',
    'weapons': 'weapon',
}
# Visible things, many of which imply each other (mammal and animal, sailing and boat and
# transport).
MINI_CLASSES = (
    'africa',
    'america',
    'animal',
    'asia',
    'beverage',
    'bird',
    'boat',
    'building',
    'clothing',
    'dessert',
    'equipment',
    'europe',
    'fish',
    'flag',
    'flower',
    'food',
    'fruit',
    'geography',
    'holiday',
    'house',
    'insect',
    'mammal',
    'map',
    'menu',
    'music',
    'north_america',
    'people',
    'plant',
    'recreation',
    'sailing',
    'sign',
    'signalflag',
    'sports',
    'stickmen',
    'tool',
    'transport',
    'transportation',
    'tree',
    'united_nations_member',
    'vehicle',
    'work',
)


def normalise(keyword: str) -> str:
    """Trim a keyword, join its inner white space and lower its case.

    Examples:
        >>> normalise('  Mime-Types ')
        'mime-types'
    """
    return ' '.join(keyword.split()).lower()


def clean_keywords(keywords: Iterable[str]) -> set[str]:
    """Remove the keywords that name no content, and merge spelling twins.

    Args:
        keywords: Normalised keywords of one picture.

    Examples:
        >>> sorted(clean_keywords(['hash', 'icons', 'icon', 'bird']))
        ['bird', 'icon']
    """
    return {ALIASES.get(keyword, keyword) for keyword in keywords if keyword not in STOP_KEYWORDS}


def frequent_keywords(pictures: Iterable[Collection[str]], min_count: int) -> list[str]:
    """Return the keywords that at least ``min_count`` pictures have, sorted."""
    counts = Counter(keyword for keywords in pictures for keyword in keywords)
    return sorted(keyword for keyword, count in counts.items() if count >= min_count)
