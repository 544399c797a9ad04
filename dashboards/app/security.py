"""Who may ask the dashboard, and what a browser may do with its answers.

- On a loopback address the ``Host`` header must name this machine, so that a foreign name made to point here (DNS
  rebinding) is refused.
- With a token, nothing is answered without it. It is compared in constant time, and kept by the browser in a cookie
  that scripts cannot read and other sites cannot send.
- Requests that change something must come from the dashboard's own pages.
- Pages run only the dashboard's own scripts and connect to nothing else.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from flask import Flask, Response, abort, make_response, redirect, request

from radiology.errors import InputError

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
COOKIE = "interp_token"
MIN_TOKEN = 16
#: Bytes of a request's body; notes are the largest thing that is sent.
MAX_REQUEST = 1_000_000


def check_exposure(host: str, token: str | None) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        InputError: a host that other machines could reach without a token, or a token that is too short.
    """
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or any(sign.isspace() for sign in token)):
        raise InputError(
            f"token: needs at least {MIN_TOKEN} characters of ASCII without spaces; "
            'make one with: python -c "import secrets; print(secrets.token_urlsafe(24))"'
        )
    if host not in LOOPBACK_HOSTS and token is None:
        raise InputError(
            f"host: {host!r} can be reached from other machines; the dashboard then wants a --token. "
            f"Without one, serve on {LOOPBACK_HOSTS[0]} and use ssh -L to look at it from elsewhere."
        )


def guard(server: Flask, token: str | None, scripts: list[str]) -> None:
    """Put the checks before every request and the headers on every answer.

    Args:
        token: what a request must show; None on loopback addresses only.
        scripts: hashes of the inline scripts that Dash needs.
    """
    server.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST

    @server.before_request
    def allow() -> Response | None:
        if token is None:
            _refuse_foreign_names()
        else:
            answer = _ask_for_token(token)
            if answer is not None:
                return answer
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            _refuse_other_sites()
        return None

    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(scripts)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )

    @server.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if not request.path.startswith("/_dash-component-suites/") and "v" not in request.args:
            response.headers["Cache-Control"] = "no-store"
        return response


def _refuse_foreign_names() -> None:
    try:
        name = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        name = None
    if name not in LOOPBACK_HOSTS:
        abort(make_response(("This server answers to localhost only.\n", 403, {"Content-Type": "text/plain"})))


def _ask_for_token(token: str) -> Response | None:
    """None if the request has the token; with the token in its address, a cookie and the address without it."""
    shown = request.args.get("token")
    if shown is not None and _equal(shown, token):
        answer = make_response(redirect(request.path if request.path.startswith("/") else "/", 303))
        answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict", secure=request.is_secure)
        return answer
    kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if kind == "Bearer" and _equal(bearer, token):
        return None
    if _equal(request.cookies.get(COOKIE, ""), token):
        return None
    text = "This dashboard wants its token: open it once with ?token=… at the end of the address.\n"
    return make_response((text, 401, {"Content-Type": "text/plain; charset=utf-8"}))


def _equal(shown: str, token: str) -> bool:
    return hmac.compare_digest(shown.encode(), token.encode())


def _refuse_other_sites() -> None:
    origin = request.headers.get("Origin")
    same = origin is None or urlsplit(origin).netloc == request.headers.get("Host", "")
    if not same or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(make_response(("Only pages of this dashboard may do that.\n", 403, {"Content-Type": "text/plain"})))
