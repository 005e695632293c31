"""Owns the few pages that readers see: to leave a list, that it is done, and that a link leads nowhere."""

from typing import Final

# No script, no style sheet, no frame: the pages hold a text and a form.
SECURITY_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"cache-control", b"no-store"),
)


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>\n'
        f"<body><main><h1>{title}</h1>\n{body}\n</main></body>\n</html>\n"
    ).encode()


NOT_FOUND: Final = _page("This link leads nowhere", "<p>It is incomplete, or no longer in use.</p>")
# The form posts what mailbox providers post (RFC 8058 section 3.1), to the very address of the page.
UNSUBSCRIBE: Final = _page(
    "Unsubscribe",
    '<p>Do you want to get no more messages from this list?</p>\n<form method="post" action="">'
    '<input type="hidden" name="List-Unsubscribe" value="One-Click"><button type="submit">Unsubscribe</button></form>',
)
UNSUBSCRIBED: Final = _page("You are unsubscribed", "<p>You will get no more messages from this list.</p>")
INCOMPLETE: Final = _page("Nothing was changed", "<p>The request was not complete. Please use the button again.</p>")
TRY_AGAIN: Final = _page("Please try again", "<p>Your wish could not be stored just now. Please try again soon.</p>")
