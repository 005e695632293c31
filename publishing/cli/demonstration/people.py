"""The demo's subscribers: made up, each with two to four interests out of the articles' themes."""

import random
from typing import Any, Final

from publishing.cli.demonstration.articles import THEMES

ZONES: Final = ("Europe/Paris", "America/New_York", "Asia/Tokyo", "UTC")


def people(count: int, seed: int) -> list[dict[str, Any]]:
    """Bodies for POST /subscribers; example.org belongs to nobody (RFC 2606)."""
    dice = random.Random(seed)  # noqa: S311 - made-up interests, not a secret
    themes = sorted(THEMES)
    return [
        {
            "email": f"reader{number}@example.org",
            "external_id": f"demo-{number}",
            "time_zone": dice.choice(ZONES),
            "locale": "en",
            "topics": {theme: round(dice.uniform(0.3, 1.0), 2) for theme in dice.sample(themes, dice.randint(2, 4))},
            "cadence": "immediate",
            "channels": {"email": True},
            "attributes": {"plan": dice.choice(("free", "pro"))},
        }
        for number in range(count)
    ]
