"""Who may ask, checked before any route: the token, the name by which the server was called, the page that asks."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE_S = 30 * 24 * 3600
"""How long a browser remembers that it knew the token."""
_HEADERS = {
    # Nothing from anywhere else, nothing inline, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "posestream",
}
_WANTED = "this page needs its token: open /?token=… once, or send `Authorization: Bearer …`\n"


class Guard:
    """Lets through who knows `token`; without one, who calls the server by a name of the loopback.

    The second keeps out pages of other sites that have their name resolved to this machine (DNS rebinding). A browser
    that comes with `?token=` is sent on to the address without it, and given a cookie that is worth the token here, but
    does not tell it; a program, such as a video player that can send no headers, is served.
    """

    def __init__(self, token: str | None, port: int) -> None:
        self._token = token
        self._cookie_name = f"posestream-{port}"
        self._cookie = _digest(token or "")

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware."""
        if self._token is None:
            if not _is_loopback_name(request.headers.get(hdrs.HOST, "")):
                raise web.HTTPForbidden(text="ask for localhost or 127.0.0.1\n")
        elif "token" in request.query:
            if not hmac.compare_digest(_digest(request.query["token"]), self._cookie):
                raise web.HTTPUnauthorized(text="wrong token\n", headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
            if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
                return self._admitted(request)
        elif not self._knows_token(request):
            raise web.HTTPUnauthorized(text=_WANTED, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
        if not _is_own_page(request):
            raise web.HTTPForbidden(text="asked by the page of another site\n")
        return await handler(request)

    def _knows_token(self, request: web.Request) -> bool:
        kind, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        # Both are compared each time, in a time that tells nothing of how much is right.
        by_header = hmac.compare_digest(_digest(bearer.strip()), self._cookie) and kind.lower() == "bearer"
        by_cookie = hmac.compare_digest(request.cookies.get(self._cookie_name, "").encode(), self._cookie.encode())
        return by_header or by_cookie

    def _admitted(self, request: web.Request) -> web.StreamResponse:
        rest = [(key, value) for key, value in request.query.items() if key != "token"]
        # Never `//host/…`, which a browser takes for another site.
        place = request.rel_url.with_path("/" + request.path.lstrip("/")).with_query(rest)
        answer = web.Response(status=302, headers={hdrs.LOCATION: str(place)})
        answer.set_cookie(
            self._cookie_name, self._cookie, max_age=COOKIE_S, httponly=True, samesite="Lax", secure=request.secure
        )
        return answer


async def harden(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that keep a browser from mixing this site with others, on every answer."""
    response.headers.update(_HEADERS)


def _digest(token: str) -> str:
    return hashlib.sha256(f"posestream cookie {token}".encode()).hexdigest()


def _is_loopback_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_own_page(request: web.Request) -> bool:
    """Whether a request that names the page it comes from, as of a WebSocket, comes from ours."""
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or urlsplit(origin).netloc == request.headers.get(hdrs.HOST)
